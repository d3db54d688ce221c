// webhook-call-status as a Node.js team would write it: verify the capability, parse the callback, keep the raw event
// and move the call's row by one conditional update, side by side.
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { DynamoDBClient, PutItemCommand, UpdateItemCommand } from "@aws-sdk/client-dynamodb";

const client = new DynamoDBClient({});
const table = process.env.TABLE_NAME;
const key = createHmac("sha256", process.env.SIGNING_KEY).update("exotel-serverless/capability/v1").digest();
const ranks = { queued: 20, ringing: 30, "in-progress": 40, failed: 101, canceled: 102, busy: 103, "no-answer": 104, completed: 105 };

function authentic(purpose, locator, capability) {
  const given = Buffer.from(capability.split(".")[1] ?? "", "base64url");
  const wanted = createHmac("sha256", key).update(`${purpose}|${locator}`).digest().subarray(0, 16);
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

function parse(event) {
  const body = event.isBase64Encoded ? Buffer.from(event.body, "base64").toString() : event.body;
  const type = event.headers["content-type"] ?? "";
  if (type.startsWith("application/json")) return { body, fields: JSON.parse(body) };
  return { body, fields: Object.fromEntries(new URLSearchParams(body)) };
}

export async function handler(event) {
  const { locator, capability } = event.pathParameters;
  if (!authentic("call", locator, capability)) return { statusCode: 403, body: "" };
  const { body, fields } = parse(event);
  const [id, lead] = locator.split(".");
  const rank = ranks[fields.Status] ?? 1;
  const now = new Date();
  const hash = createHash("sha256").update(body).digest("base64url");
  const raw = new PutItemCommand({
    TableName: table,
    Item: {
      PK: { S: `LEAD#${lead}` }, SK: { S: `EVENT#${id}#${hash}` }, entity_type: { S: "raw_event" }, v: { N: "1" },
      body: { S: body }, received_at: { S: now.toISOString() },
      ttl: { N: String(Math.floor(now / 1000) + 30 * 86400) },
    },
  });
  const move = new UpdateItemCommand({
    TableName: table,
    Key: { PK: { S: `LEAD#${lead}` }, SK: { S: `CALL#${id}` } },
    ConditionExpression: "attribute_exists(PK) AND #rank < :rank",
    UpdateExpression: "SET #state = :state, #rank = :rank, talk = :talk, leg = :leg, recording = :recording ADD rev :one",
    ExpressionAttributeNames: { "#state": "state", "#rank": "rank" },
    ExpressionAttributeValues: {
      ":state": { S: fields.Status }, ":rank": { N: String(rank) }, ":one": { N: "1" },
      ":talk": { N: String(fields.ConversationDuration ?? 0) },
      ":leg": { S: fields.Legs?.[1]?.Status ?? "" },
      ":recording": { S: fields.RecordingUrl || "none" },
    },
    ReturnValuesOnConditionCheckFailure: "ALL_OLD",
  });
  await Promise.all([client.send(raw), client.send(move)]);
  return { statusCode: 200, headers: { "content-type": "application/json" }, body: '{"success":true,"handled":true}' };
}
