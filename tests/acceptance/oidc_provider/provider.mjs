// A real OpenID provider for the tests: node provider.mjs MODULES PORT PORTAL_URL
//
// Any password is right; the accounts below say who belongs where. POST /test/rotate changes the
// signing key, GET /test/asked counts how often each path was asked for.
import { createPrivateKey, generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

const [modules, port, portal] = process.argv.slice(2);
const { Provider } = await import(`${modules}/oidc-provider/lib/index.js`);

const issuer = `http://localhost:${port}`;
const AUDIENCE = 'urn:argonath:dicomweb';
const accounts = {
  ada: { email: 'ada@hospital.example', groups: ['/argonath:north:admin', 'staff'] },
  grace: { email: 'grace@hospital.example', groups: ['argonath:north:viewer', 'argonath:south:member'] },
  eve: { email: 'eve@hospital.example', groups: ['staff'] },
  twin: { email: 'north@argonath.example', groups: ['argonath:north:viewer'] },
};
const scripts = {
  'north-script': ['argonath:north:member'],
  'both-script': ['argonath:north:viewer', 'argonath:south:viewer'],
  'brief-script': ['argonath:north:member'],
  'stray-script': ['staff'],
};
const asked = {};
let handle;

function start() {
  // Exported as a key of its own: Node 20 stands still when it collects the job that made a key while it exports that.
  const { privateKey: pem } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const signing = createPrivateKey(pem).export({ format: 'jwk' });
  const provider = new Provider(issuer, {
    jwks: { keys: [{ ...signing, kid: randomUUID(), use: 'sig', alg: 'RS256' }] },
    cookies: { keys: ['a test needs no secret'] },
    clients: [
      {
        client_id: 'portal',
        client_secret: 'the portal and the provider know it',
        redirect_uris: [`${portal}/oidc/callback`],
        post_logout_redirect_uris: [`${portal}/sign-in`],
      },
      ...Object.keys(scripts).map((client_id) => ({
        client_id,
        client_secret: `${client_id}-secret`,
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      })),
    ],
    pkce: { required: () => true },
    claims: { openid: ['sub'], email: ['email'], profile: ['groups'] },
    findAccount: (_ctx, id) => accounts[id] && { accountId: id, claims: () => ({ sub: id, ...accounts[id] }) },
    extraTokenClaims: (_ctx, token) => ({ groups: scripts[token.clientId] ?? accounts[token.accountId]?.groups }),
    ttl: { ClientCredentials: (_ctx, token) => (token.clientId === 'brief-script' ? 4 : 600) },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_ctx, resource) => ({
          scope: '',
          audience: resource === AUDIENCE ? AUDIENCE : 'urn:somebody:else',
          accessTokenFormat: 'jwt',
        }),
      },
    },
  });
  handle = provider.callback();
}

start();
createServer((request, response) => {
  const { pathname } = new URL(request.url, issuer);
  if (pathname === '/test/asked') return response.end(JSON.stringify(asked));
  if (pathname === '/test/rotate') return response.end(String(start() ?? 'rotated'));
  asked[pathname] = (asked[pathname] ?? 0) + 1;
  return handle(request, response);
}).listen(Number(port), '127.0.0.1', () => console.log(`listening on ${issuer}`));
