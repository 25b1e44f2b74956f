// Handlers that hold the event loop, as mistakes do; each says on stdout from when to when, on the monotonic clock.
// Usage: node stalls.js PORT; then /KIND/MILLISECONDS.

const http = require("node:http");
const fs = require("node:fs");

const holds = {
  spin: (ms) => {
    const until = performance.now() + ms;
    while (performance.now() < until);
  },
  exec: (ms) => require("node:child_process").execSync(`sleep ${ms / 1000}`),
  sleep: (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms),
};

const server = http.createServer((request, response) => {
  const [, kind, ms] = request.url.split("/");
  if (!holds[kind]) return setTimeout(() => response.end("ok"), Number(ms));
  const start = process.hrtime.bigint();
  holds[kind](Number(ms));
  fs.writeSync(1, `held ${kind} ${start} ${process.hrtime.bigint()}\n`);
  response.end("ok");
});
server.listen(Number(process.argv[2]), "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
