// Handlers that hold the event loop in functions with names. Usage: node places.js PORT; then /KIND/MILLISECONDS.

const http = require("node:http");

function burn(n) {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += Math.sqrt(i) % 7;
  return sum;
}

function compute(ms) {
  const until = performance.now() + ms;
  let sum = 0;
  while (performance.now() < until) sum += burn(10_000);
  return sum;
}

function wait(ms) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

const holds = { cpu: compute, sleep: wait };

const server = http.createServer((request, response) => {
  const [, kind, ms] = request.url.split("/");
  if (!holds[kind]) return setTimeout(() => response.end("ok"), Number(ms));
  holds[kind](Number(ms));
  response.end("ok");
});
server.listen(Number(process.argv[2]), "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
