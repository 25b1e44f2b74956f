// Handlers that hold the event loop, as mistakes do; each says on stdout from when to when, on the monotonic clock, and
// what the kernel's scheduler says of the thread in between: `held KIND START END ON_CPU RUN_QUEUE`, in ns.
// Usage: node stalls.js PORT [cluster]; then /KIND/MILLISECONDS. Environment: STALLS_DIR for files.

const http = require("node:http");
const fs = require("node:fs");
const cluster = require("node:cluster");
const { execSync } = require("node:child_process");
const { Worker } = require("node:worker_threads");

function until(ms, work) {
  const end = performance.now() + ms;
  do work();
  while (performance.now() < end);
}

const item = { id: 7, name: "item 7", tags: ["a", "b"], price: 1.5 };
const large = JSON.stringify(Array(100_000).fill(item));

const holds = {
  spin: (ms) => until(ms, () => {}),
  sleep: (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms),
  json: (ms) => until(ms, () => JSON.parse(large)),
  exec: (ms) => execSync(`sleep ${ms / 1000}`),
  fsync: (ms) => {
    const file = fs.openSync(`${process.env.STALLS_DIR}/synced`, "w");
    until(ms, () => {
      fs.writeSync(file, "x".repeat(4096));
      fs.fsyncSync(file);
    });
    fs.closeSync(file);
  },
};

// Computes in another thread, as long as the handler waits.
function inWorker(ms, done) {
  const source = `const end = performance.now() + ${ms}; while (performance.now() < end);`;
  new Worker(source, { eval: true }).on("exit", done);
}

// Of the main thread: time on the CPU and in the run queue so far.
function scheduled() {
  return fs.readFileSync("/proc/self/schedstat", "latin1").split(" ").map(BigInt);
}

function hold(kind, ms) {
  const before = scheduled();
  const start = process.hrtime.bigint();
  holds[kind](ms);
  const end = process.hrtime.bigint();
  const after = scheduled();
  fs.writeSync(1, `held ${kind} ${start} ${end} ${after[0] - before[0]} ${after[1] - before[1]}\n`);
}

function serve() {
  const server = http.createServer((request, response) => {
    const [, kind, ms] = request.url.split("/");
    const done = () => response.end("ok");
    if (kind === "worker") return inWorker(Number(ms), done);
    if (!holds[kind]) return setTimeout(done, Number(ms));
    hold(kind, Number(ms));
    done();
  });
  server.listen(Number(process.argv[2]), "127.0.0.1");
}

process.on("SIGTERM", () => process.exit(0));
if (process.argv[3] === "cluster" && cluster.isPrimary) cluster.fork();
else serve();
