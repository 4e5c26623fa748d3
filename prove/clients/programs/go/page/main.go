package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"cloud.google.com/go/bigquery"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
)

func main() {
	ctx := context.Background()
	project := os.Getenv("GOOGLE_CLOUD_PROJECT")
	gateway := option.WithEndpoint(os.Getenv("BIGQUERY_ENDPOINT"))
	client, err := bigquery.NewClient(ctx, project, gateway)
	if err != nil {
		log.Fatal(err)
	}
	query := client.Query("SELECT id, email, ssn FROM shop.customers ORDER BY id LIMIT 3")
	rows, err := query.Read(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for {
		var row []bigquery.Value
		if err := rows.Next(&row); err == iterator.Done {
			return
		} else if err != nil {
			log.Fatal(err)
		}
		fmt.Println(row)
	}
}
