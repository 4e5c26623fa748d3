// The certified issuer `oidc-provider` as a server of its own; ./issuer.py starts it and says what
// its one argument holds. It reads commands from its standard input and ends with that.
'use strict';

const {generateKeyPairSync, randomBytes} = require('node:crypto');
const http = require('node:http');
const readline = require('node:readline');
const {pathToFileURL} = require('node:url');

const {port, clients} = JSON.parse(process.argv[2]);
const HOST = '127.0.0.1';
const LIFETIME = 600;

function key() {
  const {privateKey} = generateKeyPairSync('rsa', {modulusLength: 2048});
  const kid = randomBytes(6).toString('hex');
  return {...privateKey.export({format: 'jwk'}), kid, use: 'sig', alg: 'RS256'};
}

function configuration(keys, adapter) {
  return {
    adapter,
    jwks: {keys},
    cookies: {keys: ['not a secret']},
    clients: Object.entries(clients).map(([id, {secret, groups = [], lifetime = LIFETIME, may_act}]) => ({
      client_id: id,
      ...(secret && {client_secret: secret}),
      token_endpoint_auth_method: secret ? 'client_secret_basic' : 'none',
      grant_types: secret
        ? ['client_credentials']
        : ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
      redirect_uris: [],
      response_types: [],
      groups,
      lifetime,
      ...(may_act && {may_act}),
    })),
    extraClientMetadata: {properties: ['groups', 'lifetime', 'may_act']},
    extraTokenClaims: ({oidc: {client}}) => ({
      groups: client.groups,
      ...(client.may_act && {may_act: client.may_act}),
    }),
    findAccount: (_, id) => ({accountId: id, claims: () => ({sub: id})}),
    scopes: ['openid', 'offline_access'],
    ttl: {IdToken: (_ctx, _token, client) => client.lifetime},
    features: {
      clientCredentials: {enabled: true},
      deviceFlow: {enabled: true},
      revocation: {enabled: true},
      resourceIndicators: {
        enabled: true,
        // A client that has named the audience once, as the device flow does, need not do so again.
        useGrantedResource: () => true,
        getResourceServerInfo: (_, audience, client) => ({
          audience,
          scope: 'bigquery',
          accessTokenFormat: 'jwt',
          accessTokenTTL: client.lifetime,
          jwt: {sign: {alg: 'RS256'}},
        }),
      },
    },
  };
}

async function main() {
  const load = name => import(pathToFileURL(require.resolve(name)));
  const {Provider} = await load('oidc-provider');
  const {createMemoryAdapter} = await load('oidc-provider/lib/adapters/memory_adapter.js');
  // Outlives each change of keys, and with it who has signed in.
  const adapter = createMemoryAdapter();
  let keys = [key()];
  let answer;
  const server = http.createServer((request, response) => answer(request, response));
  await new Promise(listening => server.listen(port, HOST, listening));
  const issuer = `http://${HOST}:${server.address().port}`;

  // The first key signs; all are published.
  function serve() {
    answer = new Provider(issuer, configuration(keys, adapter)).callback();
    console.log(JSON.stringify({issuer, keys: keys.map(({kid}) => kid)}));
  }

  serve();
  for await (const command of readline.createInterface({input: process.stdin})) {
    if (command === 'rotate') keys = [key(), ...keys];
    if (command === 'withdraw') keys = keys.slice(0, 1);
    serve();
  }
  process.exit(0);
}

// It warns of what is for development alone, which is what this is.
console.warn = console.info = () => {};
main();
