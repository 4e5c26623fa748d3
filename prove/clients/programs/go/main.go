// The common jobs of cloud.google.com/go/bigquery. Prints what ../python/checks.py describes.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"cloud.google.com/go/bigquery"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
)

const customers = "SELECT id, name, email, ssn, phone FROM shop.customers ORDER BY id LIMIT 20"

type check struct {
	name, kind string
	run        func(context.Context, *bigquery.Client) (any, error)
}

type payment struct {
	ID   int64  `bigquery:"id"`
	Note string `bigquery:"note"`
}

var checks = []check{
	{"read", "common", func(ctx context.Context, c *bigquery.Client) (any, error) {
		return rows(c.Query(customers).Read(ctx))
	}},
	{"run_and_wait", "common", func(ctx context.Context, c *bigquery.Client) (any, error) {
		job, err := c.Query(customers).Run(ctx)
		if err != nil {
			return nil, err
		}
		status, err := job.Wait(ctx)
		if err != nil {
			return nil, err
		}
		found, err := rows(job.Read(ctx))
		return []any{status.State == bigquery.Done, found}, err
	}},
	{"every_type", "common", func(ctx context.Context, c *bigquery.Client) (any, error) {
		return rows(c.Query(`SELECT 1 AS i, 1.5 AS f, NUMERIC '1.25' AS n, TRUE AS t, 'é' AS s, b'x' AS y,
			DATE '2024-02-29' AS d, TIME '12:34:56.789' AS h, DATETIME '2024-02-29 01:02:03' AS dt,
			TIMESTAMP '2024-02-29 01:02:03.456789+00' AS ts, [1, 2] AS a, STRUCT(1 AS x) AS st,
			CAST(NULL AS STRING) AS none`).Read(ctx))
	}},
	{"structs", "common", func(ctx context.Context, c *bigquery.Client) (any, error) {
		it, err := c.Query("SELECT id, status AS note FROM shop.orders ORDER BY id LIMIT 3").Read(ctx)
		if err != nil {
			return nil, err
		}
		found := []payment{}
		for {
			var row payment
			if err := it.Next(&row); err == iterator.Done {
				return found, nil
			} else if err != nil {
				return nil, err
			}
			found = append(found, row)
		}
	}},
	{"named_parameters", "common", func(ctx context.Context, c *bigquery.Client) (any, error) {
		q := c.Query(`SELECT @city AS city, @least AS least, @moment AS moment, ARRAY_LENGTH(@ids) AS n,
			@pair AS pair, (SELECT COUNT(*) FROM shop.orders WHERE id IN UNNEST(@ids)) AS orders`)
		q.Parameters = []bigquery.QueryParameter{
			{Name: "city", Value: "Fairmont"},
			{Name: "least", Value: 3},
			{Name: "moment", Value: time.Date(2024, 2, 29, 1, 2, 3, 0, time.UTC)},
			{Name: "ids", Value: []int64{1, 2, 3}},
			{Name: "pair", Value: struct {
				X int64
				Y string
			}{7, "seven"}},
		}
		return rows(q.Read(ctx))
	}},
	{"positional_parameters", "common", func(ctx context.Context, c *bigquery.Client) (any, error) {
		q := c.Query("SELECT id, status FROM shop.orders WHERE id < ? AND status = ? ORDER BY id")
		q.Parameters = []bigquery.QueryParameter{{Value: 20}, {Value: "sent"}}
		return rows(q.Read(ctx))
	}},
	{"dry_run", "common", func(ctx context.Context, c *bigquery.Client) (any, error) {
		q := c.Query("SELECT id, total FROM shop.orders")
		q.DryRun = true
		job, err := q.Run(ctx)
		if err != nil {
			return nil, err
		}
		return job.LastStatus().Statistics.TotalBytesProcessed, nil
	}},
	{"pages", "common", func(ctx context.Context, c *bigquery.Client) (any, error) {
		it, err := c.Query("SELECT id FROM shop.orders ORDER BY id").Read(ctx)
		if err != nil {
			return nil, err
		}
		it.PageInfo().MaxSize = 300
		found, err := rows(it, nil)
		return []any{len(found), it.TotalRows}, err
	}},
	{"script", "common", func(ctx context.Context, c *bigquery.Client) (any, error) {
		return rows(c.Query("DECLARE n INT64 DEFAULT 2; SELECT n AS n;").Read(ctx))
	}},
	{"job_by_id", "common", func(ctx context.Context, c *bigquery.Client) (any, error) {
		job, err := c.Query("SELECT 3 AS x").Run(ctx)
		if err != nil {
			return nil, err
		}
		if _, err := job.Wait(ctx); err != nil {
			return nil, err
		}
		again, err := c.JobFromID(ctx, job.ID())
		if err != nil {
			return nil, err
		}
		config, err := again.Config()
		return config.(*bigquery.QueryConfig).Q, err
	}},
	{"list_jobs", "common", func(ctx context.Context, c *bigquery.Client) (any, error) {
		job, err := c.Query("SELECT 4 AS x").Run(ctx)
		if err != nil {
			return nil, err
		}
		it := c.Jobs(ctx)
		for {
			listed, err := it.Next()
			if err != nil {
				return nil, err
			}
			if listed.ID() == job.ID() {
				return "listed", nil
			}
		}
	}},
	{"datasets", "common", func(ctx context.Context, c *bigquery.Client) (any, error) {
		names := []string{}
		it := c.Datasets(ctx)
		for {
			found, err := it.Next()
			if err == iterator.Done {
				sort.Strings(names)
				return names, nil
			} else if err != nil {
				return nil, err
			}
			names = append(names, found.DatasetID)
		}
	}},
	{"tables", "common", func(ctx context.Context, c *bigquery.Client) (any, error) {
		names := []string{}
		it := c.Dataset("shop").Tables(ctx)
		for {
			found, err := it.Next()
			if err == iterator.Done {
				return names, nil
			} else if err != nil {
				return nil, err
			}
			names = append(names, found.TableID)
		}
	}},
	{"table", "common", func(ctx context.Context, c *bigquery.Client) (any, error) {
		found, err := c.Dataset("shop").Table("orders").Metadata(ctx)
		if err != nil {
			return nil, err
		}
		return []any{found.FullID, found.Type, found.NumRows, found.Schema}, nil
	}},
	{"table_rows", "common", func(ctx context.Context, c *bigquery.Client) (any, error) {
		found, err := rows(c.Dataset("shop").Table("customers").Read(ctx), nil)
		found = found[:min(len(found), 5)]
		for _, row := range found {
			delete(row, "address") // its masked parts are within one text
		}
		return found, err
	}},
	{"table_made_and_dropped", "common", func(ctx context.Context, c *bigquery.Client) (any, error) {
		table := c.Dataset("lab").Table("go_made")
		schema, err := bigquery.InferSchema(payment{})
		if err != nil {
			return nil, err
		}
		if err := table.Create(ctx, &bigquery.TableMetadata{Schema: schema}); err != nil {
			return nil, err
		}
		return "made", table.Delete(ctx)
	}},
	{"insert", "common", func(ctx context.Context, c *bigquery.Client) (any, error) {
		made := "CREATE OR REPLACE TABLE lab.go_rows (id INT64, note STRING)"
		if _, err := rows(c.Query(made).Read(ctx)); err != nil {
			return nil, err
		}
		put := c.Dataset("lab").Table("go_rows").Inserter()
		if err := put.Put(ctx, []payment{{1, "first"}, {2, "second"}}); err != nil {
			return nil, err
		}
		return stored(ctx, c, "go_rows")
	}},
	{"load", "common", func(ctx context.Context, c *bigquery.Client) (any, error) {
		source := bigquery.NewReaderSource(strings.NewReader("1,first\n2,second\n"))
		schema, err := bigquery.InferSchema(payment{})
		if err != nil {
			return nil, err
		}
		source.Schema = schema
		loader := c.Dataset("lab").Table("go_loaded").LoaderFrom(source)
		loader.WriteDisposition = bigquery.WriteTruncate
		return after(ctx, c, "go_loaded")(loader.Run(ctx))
	}},
	{"copy", "common", func(ctx context.Context, c *bigquery.Client) (any, error) {
		made := "CREATE OR REPLACE TABLE lab.go_source AS SELECT 1 AS id, 'a' AS note"
		if _, err := rows(c.Query(made).Read(ctx)); err != nil {
			return nil, err
		}
		lab := c.Dataset("lab")
		copier := lab.Table("go_copy").CopierFrom(lab.Table("go_source"))
		copier.WriteDisposition = bigquery.WriteTruncate
		return after(ctx, c, "go_copy")(copier.Run(ctx))
	}},
	{"destination_table", "common", func(ctx context.Context, c *bigquery.Client) (any, error) {
		q := c.Query("SELECT id, status AS note FROM shop.orders WHERE id < 4")
		q.Dst, q.WriteDisposition = c.Dataset("lab").Table("go_kept"), bigquery.WriteTruncate
		return after(ctx, c, "go_kept")(q.Run(ctx))
	}},
	{"syntax_error", "common", refused("SELEC 1")},
	{"unknown_table", "common", refused("SELECT * FROM shop.nothing")},
	{"unknown_column", "common", refused("SELECT nope FROM shop.orders")},
	{"unknown_job", "common", func(ctx context.Context, c *bigquery.Client) (any, error) {
		_, err := c.JobFromID(ctx, "nothing")
		return failure(err), nil
	}},
	{"approval", "approval", func(ctx context.Context, c *bigquery.Client) (any, error) {
		return rows(c.Query("SELECT id, ssn FROM shop.customers WHERE id = 1").Read(ctx))
	}},
	{"denial", "refusal", refused("SELECT id, ssn FROM shop.customers WHERE id = 2")},
	{"expiry", "refusal", refused("SELECT phone FROM shop.customers WHERE id = 3")},
	{"withdrawal", "refusal", func(ctx context.Context, c *bigquery.Client) (any, error) {
		job, err := c.Query("SELECT id, ssn FROM shop.customers WHERE id = 4").Run(ctx)
		if err != nil {
			return nil, err
		}
		if err := job.Cancel(ctx); err != nil {
			return nil, err
		}
		status, err := job.Wait(ctx)
		if err == nil {
			err = status.Err()
		}
		return failure(err), nil
	}},
}

func rows(it *bigquery.RowIterator, err error) ([]map[string]any, error) {
	found := []map[string]any{}
	if err != nil {
		return found, err
	}
	for {
		row := map[string]bigquery.Value{}
		if err := it.Next(&row); err == iterator.Done {
			return found, nil
		} else if err != nil {
			return found, err
		}
		shown := map[string]any{}
		for name, value := range row {
			shown[name] = fmt.Sprintf("%T %v", value, value)
		}
		found = append(found, shown)
	}
}

func stored(ctx context.Context, c *bigquery.Client, name string) (any, error) {
	return rows(c.Query("SELECT id, note FROM lab." + name + " ORDER BY id").Read(ctx))
}

// after waits for a job and gives the rows of the table that it wrote.
func after(ctx context.Context, c *bigquery.Client, name string) func(*bigquery.Job, error) (any, error) {
	return func(job *bigquery.Job, err error) (any, error) {
		if err != nil {
			return nil, err
		}
		status, err := job.Wait(ctx)
		if err == nil {
			err = status.Err()
		}
		if err != nil {
			return nil, err
		}
		return stored(ctx, c, name)
	}
}

func refused(sql string) func(context.Context, *bigquery.Client) (any, error) {
	return func(ctx context.Context, c *bigquery.Client) (any, error) {
		answer, err := rows(c.Query(sql).Read(ctx))
		if err == nil {
			return nil, fmt.Errorf("no error but %v", answer)
		}
		return failure(err), nil
	}
}

// failure gives the server's own words where Google's client keeps them.
func failure(err error) map[string]any {
	var told *googleapi.Error
	if errors.As(err, &told) {
		return map[string]any{"type": "googleapi.Error", "code": told.Code, "message": told.Message}
	}
	var job *bigquery.Error
	if errors.As(err, &job) {
		return map[string]any{"type": "bigquery.Error", "reason": job.Reason, "message": job.Message}
	}
	return map[string]any{"type": fmt.Sprintf("%T", err), "message": fmt.Sprint(err)}
}

func say(line map[string]any) {
	text, err := json.Marshal(line)
	if err != nil {
		text, _ = json.Marshal(map[string]any{"check": line["check"], "error": failure(err)})
	}
	fmt.Println(string(text))
}

func main() {
	ctx := context.Background()
	// Go's client reads no variable for its address, so this is the one line that it needs.
	endpoint := option.WithEndpoint(os.Getenv("BIGQUERY_ENDPOINT"))
	client, err := bigquery.NewClient(ctx, os.Getenv("GOOGLE_CLOUD_PROJECT"), endpoint)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	chosen, names := []check{}, []string{}
	for _, kind := range os.Args[1:] {
		for _, one := range checks {
			if one.kind == kind {
				chosen, names = append(chosen, one), append(names, one.name)
			}
		}
	}
	say(map[string]any{"checks": names})
	for _, one := range chosen {
		limited, cancel := context.WithTimeout(ctx, 90*time.Second)
		result, err := one.run(limited, client)
		cancel()
		if err != nil {
			say(map[string]any{"check": one.name, "error": failure(err)})
		} else {
			say(map[string]any{"check": one.name, "result": result})
		}
	}
}
