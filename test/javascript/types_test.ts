// What the types of skein.js allow, and what they do not: compiled, not run.

import { Client, Gap, PresenceChange, SkeinError } from "../../src/http/web/skein.js";
import type { HistoryAnswer, Item, Member, Position, Publication, StateChange, UserMessage } from "../../src/http/web/skein.js";

const client = new Client("wss://example.org/ws", {
  token: async () => "t",
  tokenPlace: "first-message",
  protocols: ["mine"],
  bufferSize: 1,
  acknowledge: false,
  WebSocket: class {},
});
// @ts-expect-error: there is no such place
new Client("wss://example.org/ws", { tokenPlace: "cookie" });
// @ts-expect-error: there is no such option
new Client("wss://example.org/ws", { reconnects: true });

export async function loop(): Promise<string[]> {
  const said: string[] = [];
  const position: Position = { epoch: "e", offset: 1 };
  const mine = client.subscribe("orders.alice", { recover: position, info: { desk: 7 }, bufferSize: 10 });
  for await (const item of mine) {
    if (item instanceof Gap) {
      const missing: number | undefined = item.missing;
      said.push(`${item.channel} ${item.epoch} ${item.offset} ${missing}`);
    } else if (item instanceof PresenceChange) {
      const members: Member[] = [...(item.joined ?? []), ...(item.left ?? [])];
      said.push(item.type, `${item.count} ${members[0]?.user}`);
    } else {
      const publication: Publication = item;
      said.push(publication.channel, String(publication["price"]));
    }
    const any: Item = item;
    said.push(any.channel);
  }
  const last: Position | undefined = mine.position;
  said.push(String(last?.offset), String(mine.live), mine.channel);
  // @ts-expect-error: it is not ours to move
  mine.position = position;
  return said;
}

export async function requests(): Promise<void> {
  const at: Position | undefined = await client.publish("chat", { text: "hello" });
  const page: HistoryAnswer = await client.history("chat", { limit: 1, since: at });
  const offsets: (number | undefined)[] = page.publications.map((each) => each.offset);
  const { count, members } = await client.presence("chat");
  const first: Member | undefined = members?.[0];
  const answer = await client.request({ type: "price", symbol: "AAPL" });
  const price: unknown = answer["price"];
  await client.ping();
  await client.ack(7);
  console.log(offsets, count + 1, first?.connection, price, client.dropped, client.state === "closed");
  // @ts-expect-error: a request has a type
  await client.request({ symbol: "AAPL" });
  // @ts-expect-error: ids are numbers
  await client.ack("7");
}

export async function messages(): Promise<void> {
  for await (const message of client.messages()) {
    const id: number | undefined = message.message_id;
    console.log(id, message.type);
  }
}

export function listeners(): void {
  const mine = client.subscribe("room");
  const stop: () => void = mine.on("message", (message: Publication) => console.log(message.channel));
  mine.on("gap", (gap: Gap) => console.log(gap.offset));
  mine.on("presence", (change: PresenceChange) => console.log(change.count));
  mine.on("subscribed", (answer) => console.log(answer.epoch, answer.recovered));
  mine.on("ended", (why: SkeinError | null) => console.log(why?.code));
  client.on("state", ({ state, reason, pause }: StateChange) => console.log(state, reason, pause));
  client.on("message", async (message: UserMessage) => console.log(message.message_id));
  client.on("error", (error: SkeinError) => console.log(error.code, error.channel, error.retryAfterMs, error.field));
  // @ts-expect-error: there is no such event
  mine.on("closed", () => {});
  // @ts-expect-error: a client is not told of a gap
  client.on("gap", () => {});
  stop();
  mine.unsubscribe();
  client.reconnect();
  client.close(1000, "done");
}
