// Asks one query as whoever the credential file says; prints its rows, or why there are none.
'use strict';

const {BigQuery} = require('@google-cloud/bigquery');

new BigQuery().query(process.argv[2]).then(
  ([rows]) => console.log(JSON.stringify({rows})),
  error => console.log(JSON.stringify({error: error.name, message: error.message}))
);
