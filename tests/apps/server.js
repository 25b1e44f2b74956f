// The test service on Node's own http server: the routes that every app in this folder has.
// Usage: node server.js PORT | node server.js /PATH/TO/SOCKET

const http = require("node:http");
const { setTimeout: sleep } = require("node:timers/promises");

async function body(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}

function send(response, status, type, content) {
  response.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(content) });
  response.end(content);
}

async function stream(response, type, pause, line) {
  response.writeHead(200, { "content-type": type });
  for (let n = 0; n < 5; n++) {
    response.write(line(n));
    await sleep(pause);
  }
  response.end();
}

const binary = "application/octet-stream";
const routes = {
  "GET items": (_, response, id) =>
    send(response, 200, "application/json", JSON.stringify({ id, name: `item ${id}` })),
  "POST echo": async (request, response) => send(response, 200, binary, await body(request)),
  "GET bytes": (_, response, n) => send(response, 200, binary, Buffer.alloc(Number(n), "x")),
  "GET status": (_, response, code) => response.writeHead(Number(code)).end(),
  "GET delay": async (_, response, ms) => {
    await sleep(Number(ms));
    send(response, 200, "text/plain", "late");
  },
  "GET stream": (_, response) => stream(response, "text/plain", 10, (n) => `chunk ${n}\n`),
  "GET sse": (_, response) => stream(response, "text/event-stream", 50, (n) => `data: ${n}\n\n`),
};

const server = http.createServer((request, response) => {
  const [, name, argument] = request.url.split("/");
  const route = routes[`${request.method} ${name}`];
  if (route) route(request, response, argument);
  else send(response, 404, "text/plain", "no such route");
});

const address = process.argv[2];
if (address.startsWith("/")) server.listen(address);
else server.listen(Number(address), "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
