// Runs the workload through mysql2. Usage: node_mysql.js ENDPOINT WORKLOAD; see tests/support/sql_client.rs.

const fs = require("node:fs");
const mysql = require("mysql2/promise");

const log = [];

// Runs one command and logs what it sent and what came back.
async function logged(kind, text, run) {
  const entry = { kind, text: text.slice(0, 200), length: text.length, rows: 0, affected: 0 };
  log.push(entry);
  const begun = performance.now();
  try {
    const result = await run();
    entry.seconds = (performance.now() - begun) / 1000;
    return [entry, result];
  } catch (error) {
    entry.seconds = (performance.now() - begun) / 1000;
    if (!error.errno) throw error;
    entry.error = error.errno;
    return [entry, undefined];
  }
}

function count(entry, results) {
  for (const result of results) {
    if (Array.isArray(result)) entry.rows += result.length;
    else if (result) entry.affected += result.affectedRows;
  }
}

async function main() {
  const endpoint = JSON.parse(process.argv[2]);
  const where = endpoint.socket ? { socketPath: endpoint.socket } : { host: "127.0.0.1", port: endpoint.port };
  const connection = await mysql.createConnection({
    ...where,
    user: endpoint.user,
    password: endpoint.password,
    database: endpoint.database,
    multipleStatements: true,
  });
  for (const step of JSON.parse(fs.readFileSync(process.argv[3]))) {
    if (step.prepare) {
      const [, statement] = await logged("prepare", step.prepare, () => connection.prepare(step.prepare));
      for (const values of step.execute) {
        const [entry, result] = await logged("execute", step.prepare, () => statement.execute(values));
        count(entry, [result[0]]);
      }
      await statement.close();
    } else {
      const text = step.query.replace("PAD", "x".repeat(step.pad ?? 0));
      const [entry, result] = await logged("query", text, () => connection.query(text));
      if (result) count(entry, step.multi ? result[0] : [result[0]]);
    }
  }
  await connection.end();
  process.stdout.write(JSON.stringify(log));
}

main();
