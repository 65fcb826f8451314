// Prints what the official JavaScript SDK makes of an event for messages of NATS, which it has no binding of its own for: headers and
// body by its bindings for both modes, and the event alone as JSON. js.json was made so, with Node 20.20.2:
//
//   npm install cloudevents@10.0.0 && node emit.mjs > js.json
import { CloudEvent, HTTP } from "cloudevents";

const attributes = { source: "/shop/eu", type: "com.example.order.placed", time: "2026-11-28T12:00:00Z", tenant: "eu" };
const body = { properties: { name: "Order 1" } };
const text = (b) => (typeof b === "string" ? b : new TextDecoder().decode(b));
const message = (m) => ({ headers: m.headers, body: text(m.body) });
const all = {};
for (const [name, more] of Object.entries({
  object: { id: "js-1", datacontenttype: "application/json", data: body },
  untyped: { id: "js/2", data: body },
  bytes: { id: "js-3", datacontenttype: "application/json", data: new TextEncoder().encode(JSON.stringify(body)) },
  text: { id: "js-4", datacontenttype: "application/json", data: JSON.stringify(body) },
})) {
  const event = new CloudEvent({ ...attributes, ...more });
  all[name] = {
    structured: message(HTTP.structured(event)),
    alone: { headers: {}, body: JSON.stringify(event) },
    binary: message(HTTP.binary(event)),
  };
}
console.log(JSON.stringify(all, null, 1));
