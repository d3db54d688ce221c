// A frame's way as a Node.js team would write it: parse API Gateway's envelope and Exotel's message, decode the audio,
// put it in its place by sequence number, listen whether somebody speaks. Reads envelopes, a line each, from standard
// input; prints nanoseconds of CPU time per frame over so many passes.
import { readFileSync } from "node:fs";

const passes = Number(process.argv[2]);
// As bytes, which is how they come over HTTP.
const envelopes = readFileSync(0, "utf8").trim().split("\n").map((line) => Buffer.from(line));

function newSession() {
  return { newest: 1, floor: 100, speaking: false, loudMs: 0, quietMs: 0, waiting: new Map(), frames: [], turns: 0 };
}

function listen(session, samples, rate) {
  // Windows of 20 ms against a floor that follows the line's noise.
  const window = rate / 50;
  let loud = 0;
  for (let from = 0; from + window <= samples.length; from += window) {
    let sum = 0;
    for (let i = from; i < from + window; i++) sum += samples[i] * samples[i];
    const level = Math.sqrt(sum / window);
    if (level > 3 * session.floor) loud += 20;
    else session.floor += (level - session.floor) * 0.05;
  }
  return loud;
}

function step(session, number, pcm, rate) {
  if (number <= session.newest && !session.waiting.has(number)) return "duplicate";
  session.waiting.set(number, pcm);
  if (session.waiting.size > 3) session.newest = Math.min(...session.waiting.keys()) - 1;
  let decision = "silence";
  while (session.waiting.has(session.newest + 1)) {
    session.newest += 1;
    const next = session.waiting.get(session.newest);
    session.waiting.delete(session.newest);
    const samples = new Int16Array(next.buffer, next.byteOffset, next.length >> 1);
    const loud = listen(session, samples, rate);
    if (loud >= 40) {
      session.loudMs += loud;
      session.quietMs = 0;
      session.speaking ||= session.loudMs >= 160;
    } else {
      session.quietMs += 100;
    }
    if (session.speaking) {
      session.frames.push(next);
      decision = "keep";
      if (session.quietMs >= 700) {
        session.speaking = false;
        session.loudMs = 0;
        session.frames = [];
        session.turns += 1;
        decision = "ask";
      }
    }
  }
  return decision;
}

function pass() {
  const session = newSession();
  let kept = 0;
  for (const bytes of envelopes) {
    const event = JSON.parse(bytes.toString());
    const message = JSON.parse(event.body);
    if (message.event !== "media" || !event.requestContext.connectionId) continue;
    let pcm = Buffer.from(message.media.payload, "base64");
    // A typed array wants an even offset.
    if (pcm.byteOffset % 2) pcm = Buffer.from(pcm);
    const rate = (pcm.length >> 1) * 10;
    if (step(session, Number(message.sequence_number), pcm, rate) === "keep") kept += 1;
  }
  if (kept < envelopes.length / 5) throw new Error(`only ${kept} frames were heard as speech`);
}

for (let n = 0; n < passes / 10; n++) pass();
const began = process.cpuUsage();
for (let n = 0; n < passes; n++) pass();
// Of all threads: a frame's garbage is collected for it, whoever does it.
const { user, system } = process.cpuUsage(began);
console.log(JSON.stringify({ path: Math.round(((user + system) * 1_000) / passes / envelopes.length) }));
