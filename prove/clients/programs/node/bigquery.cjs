// The common jobs of @google-cloud/bigquery. Prints what ../python/checks.py describes.
'use strict';

const fs = require('fs');
const {BigQuery} = require('@google-cloud/bigquery');

const bigquery = new BigQuery();
const shop = bigquery.dataset('shop');
const lab = bigquery.dataset('lab');
const CUSTOMERS = 'SELECT id, name, email, ssn, phone FROM shop.customers ORDER BY id LIMIT 20';
const TYPES = `
  SELECT 1 AS i, 1.5 AS f, NUMERIC '1.25' AS n, TRUE AS t, 'é' AS s, b'x' AS y,
    DATE '2024-02-29' AS d, TIME '12:34:56.789' AS h, DATETIME '2024-02-29 01:02:03' AS dt,
    TIMESTAMP '2024-02-29 01:02:03.456789+00' AS ts, [1, 2] AS a, STRUCT(1 AS x, 'z' AS y) AS st,
    JSON '{"k": [1, null]}' AS j, CAST(NULL AS STRING) AS none`;
const SCHEMA = [{name: 'id', type: 'INTEGER'}, {name: 'note', type: 'STRING'}];
const ROWS = [{id: 1, note: 'first'}, {id: 2, note: null}];
const checks = {common: {}, approval: {}, refusal: {}};

const common = checks.common;
common.query = async () => (await bigquery.query(CUSTOMERS))[0];
common.every_type = async () => (await bigquery.query(TYPES))[0];
common.query_job = async () => {
  const [job] = await bigquery.createQueryJob({query: CUSTOMERS});
  return (await job.getQueryResults())[0];
};
common.job_promise = async () => {
  const [job] = await bigquery.createQueryJob({query: 'SELECT 1 AS x'});
  const [metadata] = await job.promise();
  return [metadata.status.state, metadata.configuration.query.query];
};
common.named_parameters = async () => {
  const params = {
    city: 'Fairmont',
    least: 3,
    half: 0.5,
    yes: true,
    day: BigQuery.date('2024-02-29'),
    moment: BigQuery.timestamp('2024-02-29T01:02:03Z'),
    ids: [1, 2, 3],
    pair: {x: 7, y: 'seven'},
  };
  const query = `SELECT @city AS city, @least AS least, @half AS half, @yes AS yes, @day AS day,
    @moment AS moment, @pair AS pair,
    (SELECT COUNT(*) FROM shop.orders WHERE id IN UNNEST(@ids)) AS orders`;
  return (await bigquery.query({query, params}))[0];
};
common.typed_parameters = async () => {
  const query = 'SELECT @none AS none, @sum AS sum, ARRAY_LENGTH(@ids) AS n';
  const params = {none: null, sum: '1.25', ids: []};
  const types = {none: 'STRING', sum: 'NUMERIC', ids: ['INT64']};
  return (await bigquery.query({query, params, types}))[0];
};
common.positional_parameters = async () => {
  const query = 'SELECT id, status FROM shop.orders WHERE id < ? AND status = ? ORDER BY id';
  return (await bigquery.query({query, params: [20, 'sent']}))[0];
};
common.dry_run = async () => {
  const [job] = await bigquery.createQueryJob({
    query: 'SELECT id, total FROM shop.orders',
    dryRun: true,
  });
  return [job.metadata.status.state, job.metadata.statistics.totalBytesProcessed];
};
common.default_dataset = async () => {
  const query = 'SELECT COUNT(*) AS n FROM orders';
  return (await bigquery.query({query, defaultDataset: {datasetId: 'shop'}}))[0];
};
common.labels = async () => {
  const [job] = await bigquery.createQueryJob({query: 'SELECT 1 AS x', labels: {team: 'growth'}});
  return job.metadata.configuration.labels;
};
common.wrapped_integers = async () => {
  const query = 'SELECT 9007199254740993 AS big';
  return (await bigquery.query({query, wrapIntegers: true}))[0].map(row => row.big.value);
};
common.pages = async () => {
  const [job] = await bigquery.createQueryJob('SELECT id FROM shop.orders ORDER BY id');
  const sizes = [];
  let options = {maxResults: 300, autoPaginate: false};
  while (options) {
    const [rows, next] = await job.getQueryResults(options);
    sizes.push(rows.length);
    options = next;
  }
  return sizes;
};
common.all_pages = async () => (await bigquery.query('SELECT id FROM shop.orders'))[0].length;
common.stream = async () => {
  const ids = [];
  const query = 'SELECT id FROM shop.orders ORDER BY id LIMIT 700';
  for await (const row of bigquery.createQueryStream({query})) ids.push(row.id);
  return ids;
};
common.script = async () =>
  (await bigquery.query('DECLARE n INT64 DEFAULT 2; SELECT n AS n;'))[0];
common.get_job = async () => {
  const [job] = await bigquery.createQueryJob('SELECT 3 AS x');
  await job.getQueryResults();
  const [again] = await bigquery.job(job.id).get();
  return [again.metadata.status.state, again.metadata.statistics.query.statementType];
};
common.get_jobs = async () => {
  const [job] = await bigquery.createQueryJob('SELECT 4 AS x');
  await job.getQueryResults();
  const [jobs] = await bigquery.getJobs({maxResults: 50, autoPaginate: false});
  return jobs.some(one => one.id === job.id);
};
common.cancel = async () => {
  const [job] = await bigquery.createQueryJob('SELECT COUNT(*) AS n FROM shop.orders');
  return (await job.cancel())[0].kind;
};
common.datasets = async () => (await bigquery.getDatasets())[0].map(one => one.id).sort();
common.dataset = async () => {
  const [metadata] = await shop.getMetadata();
  return [metadata.id, metadata.location];
};
common.exists = async () => [
  (await shop.table('orders').exists())[0],
  (await shop.table('nothing').exists())[0],
  (await bigquery.dataset('nowhere').exists())[0],
];
common.tables = async () => (await shop.getTables())[0].map(one => [one.id, one.metadata.type]);
common.table = async () => {
  const [metadata] = await shop.table('orders').getMetadata();
  return [metadata.schema, metadata.numRows, metadata.type];
};
common.masked_table = async () =>
  (await shop.table('customers').getMetadata())[0].schema;
common.table_rows = async () =>
  (await shop.table('tickets').getRows({maxResults: 10, autoPaginate: false}))[0];
common.masked_table_rows = async () =>
  (await shop.table('customers').getRows({selectedFields: 'id,ssn,email'}))[0];
common.table_made_and_dropped = async () => {
  const [table] = await lab.createTable('node_made', {schema: SCHEMA});
  const {schema} = table.metadata;
  await table.delete();
  return [schema, (await table.exists())[0]];
};
common.insert = async () => {
  await bigquery.query('CREATE OR REPLACE TABLE lab.node_rows (id INT64, note STRING)');
  await lab.table('node_rows').insert(ROWS);
  return stored('node_rows');
};
common.insert_wrong_rows = async () => {
  await bigquery.query('CREATE OR REPLACE TABLE lab.node_wrong (id INT64, note STRING)');
  return refused(() => lab.table('node_wrong').insert([{id: 'no number'}]));
};
common.load = async () => {
  fs.writeFileSync('rows.csv', 'id,note\n1,first\n2,\n');
  const [job] = await lab.table('node_loaded').load('rows.csv', {
    schema: {fields: SCHEMA},
    skipLeadingRows: 1,
    writeDisposition: 'WRITE_TRUNCATE',
  });
  return [job.status.errors || [], await stored('node_loaded')];
};
common.write_stream = async () => {
  const options = {sourceFormat: 'NEWLINE_DELIMITED_JSON', writeDisposition: 'WRITE_TRUNCATE'};
  const stream = lab.table('node_streamed').createWriteStream({...options, schema: {fields: SCHEMA}});
  await new Promise((resolve, reject) => {
    stream.on('error', reject).on('complete', resolve);
    stream.end(ROWS.map(row => JSON.stringify(row)).join('\n'));
  });
  return stored('node_streamed');
};
common.destination_table = async () => {
  const [job] = await bigquery.createQueryJob({
    query: 'SELECT id, status AS note FROM shop.orders WHERE id < 4',
    destination: lab.table('node_kept'),
    writeDisposition: 'WRITE_TRUNCATE',
  });
  await job.getQueryResults();
  return stored('node_kept');
};
common.copy = async () => {
  await bigquery.query('CREATE OR REPLACE TABLE lab.node_source AS SELECT 1 AS id, "a" AS note');
  await lab.table('node_source').copy(lab.table('node_copy'), {writeDisposition: 'WRITE_TRUNCATE'});
  return stored('node_copy');
};
common.insert_statement = async () => {
  await bigquery.query('CREATE OR REPLACE TABLE lab.node_stated (id INT64, note STRING)');
  await bigquery.query("INSERT INTO lab.node_stated (id, note) VALUES (1, 'a'), (2, NULL)");
  return stored('node_stated');
};
common.syntax_error = () => refused(() => bigquery.query('SELEC 1'));
common.unknown_column = () => refused(() => bigquery.query('SELECT nope FROM shop.orders'));
common.unknown_table = () => refused(() => bigquery.query('SELECT * FROM shop.nothing'));
common.unknown_dataset = () => refused(() => bigquery.dataset('nowhere').getTables());
common.unknown_job = () => refused(() => bigquery.job('nothing').getMetadata());
common.error_while_it_runs = () =>
  refused(() => bigquery.query('SELECT 1 / (id - id) FROM shop.orders'));

checks.approval.approval = async () =>
  (await bigquery.query('SELECT id, ssn FROM shop.customers WHERE id = 1'))[0];
checks.refusal.denial = () =>
  refused(() => bigquery.query('SELECT id, ssn FROM shop.customers WHERE id = 2'));
checks.refusal.expiry = () => refused(async () => {
  const [job] = await bigquery.createQueryJob('SELECT phone FROM shop.customers WHERE id = 3');
  return job.getQueryResults();
});
checks.refusal.withdrawal = async () => {
  const [job] = await bigquery.createQueryJob('SELECT id, ssn FROM shop.customers WHERE id = 4');
  await job.cancel();
  return refused(() => job.getQueryResults());
};

async function stored(name) {
  return (await bigquery.query(`SELECT id, note FROM lab.${name} ORDER BY id`))[0];
}

async function refused(call) {
  let answer;
  try {
    answer = await call();
  } catch (error) {
    return failure(error);
  }
  throw new Error(`no error but ${JSON.stringify(answer)}`);
}

function failure(error) {
  const {name, code, message, errors} = error;
  return {type: name, code: code || null, message, errors: errors || []};
}

// Keeps the class of a value that JSON would make a plain object.
function shown(value) {
  if (value === undefined || value === null || typeof value !== 'object') return value ?? null;
  if (Array.isArray(value)) return value.map(shown);
  if (Buffer.isBuffer(value)) return `Buffer ${value.toString('base64')}`;
  const kind = value.constructor.name;
  if (kind === 'Object') {
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, shown(item)]));
  }
  return `${kind} ${value.value ?? value}`;
}

function say(line) {
  fs.writeSync(1, JSON.stringify(line) + '\n');
}

async function main(kinds) {
  const chosen = Object.assign({}, ...kinds.map(kind => checks[kind] || {}));
  say({checks: Object.keys(chosen)});
  for (const [check, run] of Object.entries(chosen)) {
    try {
      say({check, result: shown(await run())});
    } catch (error) {
      console.error(error);
      say({check, error: failure(error)});
    }
  }
}

main(process.argv.slice(2)).then(() => process.exit(0));
