// The Lambda Runtime API's loop, as Node.js's managed runtime runs it: import the handler, then next, call, respond.
import http from "node:http";

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function request(method, path, body) {
  return new Promise((resolve, reject) => {
    const outgoing = http.request({ host, port, method, agent, path: `/2018-06-01/runtime/${path}` }, (incoming) => {
      const chunks = [];
      incoming.on("data", (chunk) => chunks.push(chunk));
      incoming.on("end", () => resolve({ headers: incoming.headers, body: Buffer.concat(chunks).toString() }));
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

const { handler } = await import("./webhook.mjs");
for (;;) {
  const next = await request("GET", "invocation/next");
  const id = next.headers["lambda-runtime-aws-request-id"];
  try {
    const answer = await handler(JSON.parse(next.body));
    await request("POST", `invocation/${id}/response`, JSON.stringify(answer));
  } catch (error) {
    const failure = { errorType: error.name, errorMessage: String(error.message) };
    await request("POST", `invocation/${id}/error`, JSON.stringify(failure));
  }
}
