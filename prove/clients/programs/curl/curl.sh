#!/bin/sh
# The common jobs by plain HTTP. Prints what prove/clients/programs/python/checks.py describes; the
# result of a check is the status and the body, of which `fields` leaves out what differs by nature.
set -u
COMMON="query query_masked query_parameters query_types query_job results pages dry_run script
  job_by_id list_jobs list_datasets get_dataset list_tables get_table get_masked_table list_rows
  create_table insert_all delete_table load_multipart copy_job compressed method_override
  other_prefix syntax_error unknown_table unknown_job unknown_field unknown_method no_token"

credential() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" "$GOOGLE_APPLICATION_CREDENTIALS"; }
field() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" | head -n 1; }

token=$(curl -sS "$(credential token_url)" \
    --data-urlencode grant_type=urn:ietf:params:oauth:grant-type:token-exchange \
    --data-urlencode requested_token_type=urn:ietf:params:oauth:token-type:access_token \
    --data-urlencode subject_token_type=urn:ietf:params:oauth:token-type:jwt \
    --data-urlencode scope=https://www.googleapis.com/auth/bigquery \
    --data-urlencode "audience=$(credential audience)" \
    --data-urlencode "subject_token@$(credential file)" | field access_token)
api=$BIGQUERY_EMULATOR_HOST/bigquery/v2/projects/$GOOGLE_CLOUD_PROJECT
type=application/json

# ask PATH [OPTION...]: the body of an answer on one line.
ask() {
    path=$1
    shift
    curl -sS -H "Authorization: Bearer $token" -H "Content-Type: $type" "$@" "$api/$path" |
        tr -d '\n\r'
}
# asked PATH [OPTION...]: status and body of an answer as JSON.
asked() { printf '{"status": %s}' "$(ask "$@" -w ',"body":%{http_code}' | turned)"; }
turned() { sed 's/^\(.*\),"body":\([0-9]*\)$/\2, "body": \1/; s/"body": $/"body": null/'; }
drop() { ask "datasets/lab/tables/$1" -X DELETE >/dev/null; }
made() { printf '%s-%s-%s' "$1" "$$" "$(date +%s)"; }
sql() { printf '{"useLegacySql": false, "query": "%s"%s}' "$1" "${2:-}"; }
started() {
    id=$(made "$1")
    ask jobs -d "{\"jobReference\": {\"jobId\": \"$id\"}, \"configuration\": $2}" >/dev/null
}

ROWS='fields=jobComplete,rows,schema,totalRows,pageToken'
CUSTOMERS='SELECT id, name, email, ssn, phone FROM shop.customers ORDER BY id LIMIT 9'
NEW='"schema": {"fields": [{"name": "id", "type": "INTEGER"}]}'

query() { asked "queries?$ROWS" -d "$(sql 'SELECT id, total FROM shop.orders ORDER BY id LIMIT 5')"; }
query_masked() { asked "queries?$ROWS" -d "$(sql "$CUSTOMERS")"; }
query_parameters() {
    asked "queries?$ROWS" -d "$(sql 'SELECT @n + 1 AS n' ', "parameterMode": "NAMED",
      "queryParameters": [{"name": "n", "parameterType": {"type": "INT64"},
        "parameterValue": {"value": "41"}}]')"
}
query_types() {
    asked "queries?$ROWS" -d "$(sql 'SELECT 1.5 AS f, [1, 2] AS a, STRUCT(1 AS x) AS s, TRUE AS b,
      TIMESTAMP \"2024-02-29 01:02:03.5+00\" AS t, NUMERIC \"1.25\" AS n, b\"x\" AS y' | tr -d '\n')"
}
query_job() {
    asked 'jobs?fields=configuration(jobType),kind,jobReference/projectId' \
        -d "{\"configuration\": {\"query\": $(sql 'SELECT 1 AS x')}}"
}
results() {
    started results "{\"query\": $(sql "$CUSTOMERS")}"
    asked "queries/$id?$ROWS&timeoutMs=10000"
}
pages() {
    started pages "{\"query\": $(sql 'SELECT id FROM shop.orders ORDER BY id')}"
    next=$(ask "queries/$id?maxResults=400&timeoutMs=10000" | field pageToken)
    asked "queries/$id?maxResults=400&pageToken=$next&fields=totalRows,rows"
}
dry_run() {
    asked 'queries?fields=totalBytesProcessed,schema,jobComplete' \
        -d "$(sql 'SELECT id, total FROM shop.orders' ', "dryRun": true')"
}
script() { asked "queries?$ROWS" -d "$(sql 'DECLARE n INT64 DEFAULT 2; SELECT n AS n;')"; }
job_by_id() {
    started job "{\"query\": $(sql 'SELECT 3 AS x')}"
    ask "queries/$id?timeoutMs=10000" >/dev/null
    asked "jobs/$id?fields=status/state,configuration/query/query,statistics/query/statementType"
}
list_jobs() { asked 'jobs?maxResults=2&fields=kind'; }
list_datasets() { asked 'datasets?fields=datasets/datasetReference'; }
get_dataset() { asked 'datasets/shop?fields=id,location,datasetReference'; }
list_tables() { asked 'datasets/shop/tables?fields=totalItems,tables(tableReference,type)'; }
get_table() { asked 'datasets/shop/tables/orders?fields=id,numRows,schema,type'; }
get_masked_table() { asked 'datasets/shop/tables/customers?fields=id,schema,type'; }
list_rows() { asked 'datasets/shop/tables/customers/data?maxResults=5&selectedFields=id,ssn,email&fields=rows'; }
create_table() {
    drop curl_made
    asked 'datasets/lab/tables?fields=id,schema,type' -d "{\"tableReference\": {\"projectId\":
      \"$GOOGLE_CLOUD_PROJECT\", \"datasetId\": \"lab\", \"tableId\": \"curl_made\"}, $NEW}"
}
insert_all() {
    ask queries -d "$(sql 'CREATE OR REPLACE TABLE lab.curl_rows (id INT64)')" >/dev/null
    ask datasets/lab/tables/curl_rows/insertAll -d '{"rows": [{"json": {"id": 7}}]}' >/dev/null
    asked "queries?$ROWS" -d "$(sql 'SELECT id FROM lab.curl_rows')"
}
delete_table() {
    ask queries -d "$(sql 'CREATE OR REPLACE TABLE lab.curl_gone (id INT64)')" >/dev/null
    drop curl_gone
    asked 'datasets/lab/tables/curl_gone?fields=id'
}
into() {
    printf '"destinationTable": {"projectId": "%s", "datasetId": "lab", "tableId": "%s"}' \
        "$GOOGLE_CLOUD_PROJECT" "$1"
    printf ', "writeDisposition": "WRITE_TRUNCATE"'
}
load_multipart() {
    load="{\"configuration\": {\"load\": {$(into curl_loaded), \"sourceFormat\": \"CSV\", $NEW}}}"
    printf -- '--two\r\nContent-Type: application/json\r\n\r\n%s\r\n' "$load" >parts
    printf -- '--two\r\nContent-Type: text/csv\r\n\r\n1\n2\n\r\n--two--\r\n' >>parts
    upload=$BIGQUERY_EMULATOR_HOST/upload/bigquery/v2/projects/$GOOGLE_CLOUD_PROJECT/jobs
    id=$(curl -sS -H "Authorization: Bearer $token" -H 'Content-Type: multipart/related; boundary=two' \
        --data-binary @parts "$upload?uploadType=multipart" | field jobId)
    waited "$id"
    asked "queries?$ROWS" -d "$(sql 'SELECT id FROM lab.curl_loaded ORDER BY id')"
}
copy_job() {
    ask queries -d "$(sql 'CREATE OR REPLACE TABLE lab.curl_source AS SELECT 1 AS id')" >/dev/null
    started copy "{\"copy\": {$(into curl_copy), \"sourceTable\": {\"projectId\":
      \"$GOOGLE_CLOUD_PROJECT\", \"datasetId\": \"lab\", \"tableId\": \"curl_source\"}}}"
    waited "$id"
    asked "queries?$ROWS" -d "$(sql 'SELECT id FROM lab.curl_copy')"
}
waited() {
    for _ in 1 2 3 4 5 6 7 8 9; do
        ask "jobs/$1?fields=status/state" | grep -qE 'PENDING|RUNNING' || break
        sleep 0.5
    done
}
compressed() {
    sql 'SELECT 5 AS x' | gzip >body.gz
    asked "queries?$ROWS" -H 'Content-Encoding: gzip' --data-binary @body.gz --compressed
}
# Google's Python API client does so where the address would be too long.
method_override() {
    type=application/x-www-form-urlencoded
    asked datasets/shop -H 'x-http-method-override: GET' -d 'fields=id'
}
other_prefix() {
    api=$BIGQUERY_EMULATOR_HOST/projects/$GOOGLE_CLOUD_PROJECT
    asked 'datasets/shop?fields=id'
}
syntax_error() { asked queries -d "$(sql 'SELEC 1')"; }
unknown_table() { asked queries -d "$(sql 'SELECT * FROM shop.nothing')"; }
unknown_job() { asked queries/no-such-job; }
unknown_field() { asked queries -d "$(sql 'SELECT 1' ', "frobnicate": true')"; }
unknown_method() { asked nothing-of-the-kind | worded; }
no_token() {
    token=nobody
    asked queries -d "$(sql 'SELECT 1')" | worded
}
worded() { sed 's/"message": *"[^"]*"/"message": ""/g'; }

approval() {
    started approval "{\"query\": $(sql 'SELECT id, ssn FROM shop.customers WHERE id = 1')}"
    finished
}
denial() {
    started denial "{\"query\": $(sql 'SELECT id, ssn FROM shop.customers WHERE id = 2')}"
    finished
}
expiry() {
    started expiry "{\"query\": $(sql 'SELECT phone FROM shop.customers WHERE id = 3')}"
    finished
}
withdrawal() {
    started withdrawal "{\"query\": $(sql 'SELECT id, ssn FROM shop.customers WHERE id = 4')}"
    ask "jobs/$id/cancel" -X POST >/dev/null
    finished
}
finished() {
    for _ in 1 2 3 4 5 6 7 8 9; do
        ask "queries/$id?timeoutMs=10000" | grep -q '"jobComplete": *false' || break
    done
    asked "queries/$id?$ROWS"
}

checks=
for kind in "$@"; do
    case $kind in
    common) checks="$checks $COMMON" ;;
    approval) checks="$checks approval" ;;
    refusal) checks="$checks denial expiry withdrawal" ;;
    esac
done
names=
for check in $checks; do names="$names${names:+, }\"$check\""; done
printf '{"checks": [%s]}\n' "$names"
for check in $checks; do
    printf '{"check": "%s", "result": %s}\n' "$check" "$("$check" 2>>log | tr -d '\n')"
done
