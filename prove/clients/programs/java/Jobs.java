// The common jobs of com.google.cloud.bigquery. Prints what ../python/checks.py describes.

import com.google.cloud.bigquery.BigQuery;
import com.google.cloud.bigquery.BigQueryError;
import com.google.cloud.bigquery.BigQueryException;
import com.google.cloud.bigquery.BigQueryOptions;
import com.google.cloud.bigquery.CopyJobConfiguration;
import com.google.cloud.bigquery.ExtractJobConfiguration;
import com.google.cloud.bigquery.Field;
import com.google.cloud.bigquery.FieldList;
import com.google.cloud.bigquery.FieldValue;
import com.google.cloud.bigquery.FieldValueList;
import com.google.cloud.bigquery.FormatOptions;
import com.google.cloud.bigquery.InsertAllRequest;
import com.google.cloud.bigquery.InsertAllResponse;
import com.google.cloud.bigquery.Job;
import com.google.cloud.bigquery.JobConfiguration;
import com.google.cloud.bigquery.JobException;
import com.google.cloud.bigquery.JobId;
import com.google.cloud.bigquery.JobInfo;
import com.google.cloud.bigquery.JobInfo.WriteDisposition;
import com.google.cloud.bigquery.JobStatistics;
import com.google.cloud.bigquery.LegacySQLTypeName;
import com.google.cloud.bigquery.QueryJobConfiguration;
import com.google.cloud.bigquery.QueryParameterValue;
import com.google.cloud.bigquery.Schema;
import com.google.cloud.bigquery.StandardSQLTypeName;
import com.google.cloud.bigquery.StandardTableDefinition;
import com.google.cloud.bigquery.Table;
import com.google.cloud.bigquery.TableDataWriteChannel;
import com.google.cloud.bigquery.TableId;
import com.google.cloud.bigquery.TableInfo;
import com.google.cloud.bigquery.TableResult;
import com.google.cloud.bigquery.WriteChannelConfiguration;
import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

public class Jobs {
  // Java's client reads no variable for its address, so this is the one line that it needs.
  static final BigQuery bigquery =
      BigQueryOptions.newBuilder().setHost(System.getenv("BIGQUERY_EMULATOR_HOST")).build().getService();

  static final String CUSTOMERS =
      "SELECT id, name, email, ssn, phone FROM shop.customers ORDER BY id LIMIT 20";
  static final String TYPES =
      "SELECT 1 AS i, 1.5 AS f, NUMERIC '1.25' AS n, TRUE AS t, 'é' AS s, b'x' AS y,"
          + " DATE '2024-02-29' AS d, TIME '12:34:56.789' AS h, DATETIME '2024-02-29 01:02:03' AS dt,"
          + " TIMESTAMP '2024-02-29 01:02:03.456789+00' AS ts, [1, 2] AS a, STRUCT(1 AS x) AS st,"
          + " CAST(NULL AS STRING) AS none";
  static final Schema PAYMENT =
      Schema.of(
          Field.of("id", StandardSQLTypeName.INT64), Field.of("note", StandardSQLTypeName.STRING));
  static final int SECONDS = 90;
  static final Gson JSON = new GsonBuilder().serializeNulls().create();
  static final Map<String, Map<String, Callable<Object>>> CHECKS = new LinkedHashMap<>();

  static void check(String kind, String name, Callable<Object> run) {
    CHECKS.computeIfAbsent(kind, one -> new LinkedHashMap<>()).put(name, run);
  }

  static void common(String name, Callable<Object> run) {
    check("common", name, run);
  }

  static {
    queries();
    jobs();
    metadata();
    writes();
    refusals();
  }

  static void queries() {
    common("query", () -> rows(query(CUSTOMERS)));
    common(
        "every_type",
        () -> {
          FieldValueList row = query(TYPES).iterateAll().iterator().next();
          return Arrays.asList(
              row.get("i").getLongValue(),
              row.get("f").getDoubleValue(),
              row.get("n").getNumericValue(),
              row.get("t").getBooleanValue(),
              row.get("s").getStringValue(),
              new String(row.get("y").getBytesValue(), StandardCharsets.UTF_8),
              row.get("d").getStringValue(),
              row.get("h").getStringValue(),
              row.get("dt").getStringValue(),
              row.get("ts").getTimestampInstant().toString(),
              row.get("a").getRepeatedValue().get(1).getLongValue(),
              row.get("st").getRecordValue().get("x").getLongValue(),
              row.get("none").isNull());
        });
    common(
        "query_job",
        () -> {
          Job job = bigquery.create(JobInfo.of(QueryJobConfiguration.of(CUSTOMERS))).waitFor();
          return List.of(job.getStatus().getState().toString(), rows(job.getQueryResults()));
        });
    common(
        "named_parameters",
        () ->
            rows(
                bigquery.query(
                    QueryJobConfiguration.newBuilder(
                            "SELECT @city AS city, @least AS least, @moment AS moment, @sum AS sum,"
                                + " @none AS none, @pair AS pair, ARRAY_LENGTH(@ids) AS n,"
                                + " (SELECT COUNT(*) FROM shop.orders WHERE id IN UNNEST(@ids)) AS o")
                        .addNamedParameter("city", QueryParameterValue.string("Fairmont"))
                        .addNamedParameter("least", QueryParameterValue.int64(3))
                        .addNamedParameter("moment", QueryParameterValue.timestamp(1709168523000000L))
                        .addNamedParameter("sum", QueryParameterValue.numeric(new BigDecimal("1.25")))
                        .addNamedParameter("none", QueryParameterValue.string(null))
                        .addNamedParameter(
                            "pair",
                            QueryParameterValue.struct(
                                Map.of(
                                    "x", QueryParameterValue.int64(7),
                                    "y", QueryParameterValue.string("seven"))))
                        .addNamedParameter(
                            "ids", QueryParameterValue.array(new Long[] {1L, 2L, 3L}, Long.class))
                        .build())));
    common(
        "positional_parameters",
        () ->
            rows(
                bigquery.query(
                    QueryJobConfiguration.newBuilder(
                            "SELECT id, status FROM shop.orders WHERE id < ? AND status = ? ORDER BY id")
                        .addPositionalParameter(QueryParameterValue.int64(20))
                        .addPositionalParameter(QueryParameterValue.string("sent"))
                        .build())));
    common(
        "default_dataset",
        () ->
            rows(
                bigquery.query(
                    QueryJobConfiguration.newBuilder("SELECT COUNT(*) AS n FROM orders")
                        .setDefaultDataset("shop")
                        .build())));
    common(
        "labels",
        () -> {
          QueryJobConfiguration asked =
              QueryJobConfiguration.newBuilder("SELECT 1").setLabels(Map.of("team", "growth")).build();
          QueryJobConfiguration kept = bigquery.create(JobInfo.of(asked)).getConfiguration();
          return kept.getLabels();
        });
    common(
        "dry_run",
        () -> {
          String sql = "SELECT id, total FROM shop.orders";
          Job job =
              bigquery.create(
                  JobInfo.of(QueryJobConfiguration.newBuilder(sql).setDryRun(true).build()));
          JobStatistics.QueryStatistics told = job.getStatistics();
          return List.of(
              told.getTotalBytesProcessed(),
              told.getStatementType().toString(),
              schema(told.getSchema().getFields()));
        });
    common(
        "pages",
        () -> {
          Job job =
              bigquery
                  .create(JobInfo.of(QueryJobConfiguration.of("SELECT id FROM shop.orders ORDER BY id")))
                  .waitFor();
          return sizes(job.getQueryResults(BigQuery.QueryResultsOption.pageSize(300)));
        });
    common("script", () -> rows(query("DECLARE n INT64 DEFAULT 2; SELECT n AS n;")));
  }

  static void jobs() {
    common(
        "job_by_id",
        () -> {
          Job job = bigquery.create(JobInfo.of(QueryJobConfiguration.of("SELECT 3 AS x"))).waitFor();
          QueryJobConfiguration again = bigquery.getJob(job.getJobId()).getConfiguration();
          return again.getQuery();
        });
    common(
        "list_jobs",
        () -> {
          Job job = bigquery.create(JobInfo.of(QueryJobConfiguration.of("SELECT 4 AS x"))).waitFor();
          for (Job one : bigquery.listJobs(BigQuery.JobListOption.pageSize(50)).iterateAll()) {
            if (one.getJobId().getJob().equals(job.getJobId().getJob())) return "listed";
          }
          return "not listed";
        });
    common(
        "cancel",
        () ->
            bigquery
                .create(JobInfo.of(QueryJobConfiguration.of("SELECT COUNT(*) AS n FROM shop.orders")))
                .cancel());
    common("unknown_job", () -> bigquery.getJob("nothing") == null);
    common(
        "job_id_taken",
        () -> {
          JobId id = JobId.of("java_" + System.nanoTime());
          Callable<Object> begin =
              () -> bigquery.create(JobInfo.of(id, QueryJobConfiguration.of("SELECT 5"))).getJobId().getJob();
          begin.call();
          // The client takes a job of this name for its own request that had gone through.
          return begin.call().equals(id.getJob());
        });
  }

  static void metadata() {
    common(
        "datasets",
        () -> {
          TreeSet<String> names = new TreeSet<>();
          bigquery.listDatasets().iterateAll().forEach(one -> names.add(one.getDatasetId().getDataset()));
          return names;
        });
    common(
        "dataset",
        () -> {
          var found = bigquery.getDataset("shop");
          return List.of(found.getDatasetId().getDataset(), found.getLocation());
        });
    common(
        "tables",
        () -> {
          List<Object> found = new ArrayList<>();
          for (Table one : bigquery.listTables("shop").iterateAll()) {
            found.add(
                List.of(one.getTableId().getTable(), one.getDefinition().getType().toString()));
          }
          return found;
        });
    common(
        "table",
        () -> {
          Table found = bigquery.getTable("shop", "orders");
          return List.of(found.getNumRows(), schema(found.getDefinition().getSchema().getFields()));
        });
    common(
        "masked_table",
        () -> schema(bigquery.getTable("shop", "customers").getDefinition().getSchema().getFields()));
    common(
        "absent",
        () ->
            List.of(
                bigquery.getTable("shop", "nothing") == null, bigquery.getDataset("nowhere") == null));
    common(
        "table_rows",
        () -> {
          Schema known = bigquery.getTable("shop", "customers").getDefinition().getSchema();
          var asked = BigQuery.TableDataListOption.pageSize(5);
          TableResult page = bigquery.listTableData(TableId.of("shop", "customers"), known, asked);
          List<Object> found = new ArrayList<>();
          for (FieldValueList row : page.getValues()) found.add(record(known.getFields(), row));
          return found;
        });
    common(
        "table_pages",
        () ->
            sizes(
                bigquery.listTableData(
                    TableId.of("shop", "tickets"), BigQuery.TableDataListOption.pageSize(125))));
  }

  static void writes() {
    common(
        "table_made_and_dropped",
        () -> {
          TableId id = TableId.of("lab", "java_made");
          Table made = bigquery.create(TableInfo.of(id, StandardTableDefinition.of(PAYMENT)));
          return List.of(
              schema(made.getDefinition().getSchema().getFields()),
              bigquery.delete(id),
              bigquery.delete(id));
        });
    common(
        "table_updated",
        () -> {
          Table changed = bigquery.getTable(fresh("java_updated"));
          return changed.toBuilder().setDescription("to pay").build().update().getDescription();
        });
    common(
        "insert",
        () -> {
          TableId id = fresh("java_rows");
          InsertAllResponse answer =
              bigquery.insertAll(
                  InsertAllRequest.newBuilder(id)
                      .addRow(Map.of("id", 1, "note", "first"))
                      .addRow(Map.of("id", 2, "note", "second"))
                      .build());
          return List.of(answer.hasErrors(), stored(id));
        });
    common(
        "insert_wrong_rows",
        () -> {
          InsertAllResponse answer =
              bigquery.insertAll(
                  InsertAllRequest.newBuilder(fresh("java_wrong"))
                      .addRow(Map.of("id", "no number"))
                      .build());
          List<Object> found = new ArrayList<>();
          answer
              .getInsertErrors()
              .forEach((row, errors) -> errors.forEach(one -> found.add(List.of(row, one.getReason()))));
          return found;
        });
    common(
        "load",
        () -> {
          TableId id = TableId.of("lab", "java_loaded");
          TableDataWriteChannel channel =
              bigquery.writer(
                  WriteChannelConfiguration.newBuilder(id)
                      .setFormatOptions(FormatOptions.csv())
                      .setSchema(PAYMENT)
                      .setWriteDisposition(WriteDisposition.WRITE_TRUNCATE)
                      .build());
          channel.write(ByteBuffer.wrap("1,first\n2,second\n".getBytes(StandardCharsets.UTF_8)));
          channel.close();
          return after(channel.getJob(), id);
        });
    common(
        "copy",
        () -> {
          TableId source = fresh("java_source");
          query("INSERT INTO lab.java_source (id, note) VALUES (1, 'a')");
          TableId copy = TableId.of("lab", "java_copy");
          return after(
              started(
                  CopyJobConfiguration.newBuilder(copy, source)
                      .setWriteDisposition(WriteDisposition.WRITE_TRUNCATE)
                      .build()),
              copy);
        });
    common(
        "extract",
        () -> {
          TableId id = fresh("java_extracted");
          query("INSERT INTO lab.java_extracted (id, note) VALUES (1, 'a'), (2, 'b')");
          Job job =
              started(ExtractJobConfiguration.of(id, "gs://acme-shop-lab/java.csv")).waitFor();
          JobStatistics.ExtractStatistics told = job.getStatistics();
          return told.getDestinationUriFileCounts();
        });
    common(
        "destination_table",
        () -> {
          TableId id = TableId.of("lab", "java_kept");
          String sql = "SELECT id, status AS note FROM shop.orders WHERE id < 4";
          return after(
              started(
                  QueryJobConfiguration.newBuilder(sql)
                      .setDestinationTable(id)
                      .setWriteDisposition(WriteDisposition.WRITE_TRUNCATE)
                      .build()),
              id);
        });
    common(
        "statement",
        () -> {
          TableId id = fresh("java_stated");
          Job job =
              started(QueryJobConfiguration.of("INSERT INTO lab.java_stated (id) VALUES (1), (2)"))
                  .waitFor();
          JobStatistics.QueryStatistics told = job.getStatistics();
          return List.of(told.getNumDmlAffectedRows(), stored(id));
        });
  }

  static void refusals() {
    common("syntax_error", () -> refused(() -> query("SELEC 1")));
    common("unknown_table", () -> refused(() -> query("SELECT * FROM shop.nothing")));
    common("unknown_column", () -> refused(() -> query("SELECT nope FROM shop.orders")));
    common("unknown_dataset", () -> refused(() -> bigquery.listTables("nowhere")));
    common("error_while_it_runs", () -> refused(() -> query("SELECT 1 / (id - id) FROM shop.orders")));
    check(
        "approval",
        "approval",
        () -> rows(query("SELECT id, ssn FROM shop.customers WHERE id = 1")));
    check(
        "refusal",
        "denial",
        () -> refused(() -> query("SELECT id, ssn FROM shop.customers WHERE id = 2")));
    check(
        "refusal",
        "expiry",
        () -> refused(() -> query("SELECT phone FROM shop.customers WHERE id = 3")));
    check(
        "refusal",
        "withdrawal",
        () -> {
          Job job =
              started(QueryJobConfiguration.of("SELECT id, ssn FROM shop.customers WHERE id = 4"));
          job.cancel();
          return refused(() -> job.getQueryResults());
        });
  }

  static TableResult query(String sql) throws InterruptedException {
    return bigquery.query(QueryJobConfiguration.of(sql));
  }

  static Job started(JobConfiguration configuration) {
    return bigquery.create(JobInfo.of(configuration));
  }

  static TableId fresh(String name) throws InterruptedException {
    query("CREATE OR REPLACE TABLE lab." + name + " (id INT64, note STRING)");
    return TableId.of("lab", name);
  }

  static Object stored(TableId id) throws InterruptedException {
    return rows(query("SELECT id, note FROM lab." + id.getTable() + " ORDER BY id"));
  }

  // Waits for a job and gives the rows of the table that it wrote.
  static Object after(Job job, TableId id) throws InterruptedException {
    BigQueryError error = job.waitFor().getStatus().getError();
    if (error != null) throw new BigQueryException(0, error.getMessage(), error);
    return stored(id);
  }

  static List<Object> sizes(TableResult page) {
    List<Object> found = new ArrayList<>();
    for (TableResult one = page; one != null; one = one.getNextPage()) {
      int size = 0;
      for (FieldValueList ignored : one.getValues()) size++;
      found.add(size);
      if (!one.hasNextPage()) break;
    }
    return found;
  }

  static List<Object> rows(TableResult found) {
    List<Object> shown = new ArrayList<>();
    FieldList fields = found.getSchema() == null ? null : found.getSchema().getFields();
    for (FieldValueList row : found.iterateAll()) shown.add(record(fields, row));
    return shown;
  }

  static Map<String, Object> record(FieldList fields, FieldValueList row) {
    Map<String, Object> shown = new LinkedHashMap<>();
    for (int at = 0; at < fields.size(); at++) {
      Field field = fields.get(at);
      shown.put(field.getName(), cell(field, row.get(at)));
    }
    return shown;
  }

  static Object cell(Field field, FieldValue value) {
    if (value.isNull()) return null;
    if (value.getAttribute() == FieldValue.Attribute.REPEATED) {
      List<Object> items = new ArrayList<>();
      value.getRepeatedValue().forEach(item -> items.add(cell(field, item)));
      return items;
    }
    if (field.getType().equals(LegacySQLTypeName.RECORD)) {
      return record(field.getSubFields(), value.getRecordValue());
    }
    return value.getStringValue();
  }

  static List<Object> schema(FieldList fields) {
    List<Object> shown = new ArrayList<>();
    for (Field field : fields) {
      FieldList inside = field.getSubFields();
      shown.add(
          Arrays.asList(
              field.getName(),
              field.getType().toString(),
              field.getMode() == null ? "" : field.getMode().toString(),
              inside == null ? List.of() : schema(inside)));
    }
    return shown;
  }

  static Object refused(Callable<Object> call) throws Exception {
    Object answer;
    try {
      answer = call.call();
    } catch (BigQueryException | JobException error) {
      return failure(error);
    }
    throw new IllegalStateException("no error but " + answer);
  }

  // Gives the server's own words where Google's client keeps them.
  static Map<String, Object> failure(Throwable error) {
    Map<String, Object> told = new LinkedHashMap<>();
    told.put("type", error.getClass().getSimpleName());
    BigQueryError said = null;
    if (error instanceof BigQueryException) {
      told.put("code", ((BigQueryException) error).getCode());
      said = ((BigQueryException) error).getError();
    } else if (error instanceof JobException) {
      List<BigQueryError> errors = ((JobException) error).getErrors();
      said = errors.isEmpty() ? null : errors.get(0);
    }
    told.put("reason", said == null ? "" : said.getReason());
    told.put("message", said == null ? String.valueOf(error.getMessage()) : said.getMessage());
    return told;
  }

  static void say(Map<String, Object> line) {
    System.out.println(JSON.toJson(line));
    System.out.flush();
  }

  public static void main(String[] kinds) {
    Map<String, Callable<Object>> chosen = new LinkedHashMap<>();
    for (String kind : kinds) chosen.putAll(CHECKS.getOrDefault(kind, Map.of()));
    say(Map.of("checks", chosen.keySet()));
    ExecutorService runner =
        Executors.newCachedThreadPool(
            task -> {
              Thread thread = new Thread(task);
              thread.setDaemon(true);
              return thread;
            });
    chosen.forEach(
        (name, run) -> {
          Map<String, Object> line = new LinkedHashMap<>();
          line.put("check", name);
          Future<Object> outcome = runner.submit(run);
          try {
            line.put("result", outcome.get(SECONDS, TimeUnit.SECONDS));
          } catch (Exception error) {
            Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
            cause.printStackTrace();
            line.put("error", failure(cause));
          }
          say(line);
        });
    System.exit(0);
  }
}
