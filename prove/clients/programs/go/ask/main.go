// Asks one query as whoever the credential file says, signed in by one of Go's two libraries;
// prints its rows, or why there are none.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"cloud.google.com/go/bigquery"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
)

func rows(ctx context.Context, library, sql string) ([]map[string]bigquery.Value, error) {
	// Go's client reads no variable for its address, so this is the one line that it needs.
	options := []option.ClientOption{option.WithEndpoint(os.Getenv("BIGQUERY_ENDPOINT"))}
	if library == "oauth2" {
		credentials, err := google.FindDefaultCredentials(ctx, bigquery.Scope)
		if err != nil {
			return nil, err
		}
		options = append(options, option.WithTokenSource(credentials.TokenSource))
	}
	client, err := bigquery.NewClient(ctx, os.Getenv("GOOGLE_CLOUD_PROJECT"), options...)
	if err != nil {
		return nil, err
	}
	found, err := client.Query(sql).Read(ctx)
	if err != nil {
		return nil, err
	}
	all := []map[string]bigquery.Value{}
	for {
		row := map[string]bigquery.Value{}
		if err := found.Next(&row); err == iterator.Done {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, row)
	}
}

func main() {
	found, err := rows(context.Background(), os.Args[1], os.Args[2])
	answer := map[string]any{"rows": found}
	if err != nil {
		answer = map[string]any{"error": fmt.Sprintf("%T", err), "message": err.Error()}
	}
	text, err := json.Marshal(answer)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}
