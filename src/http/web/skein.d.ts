// The types of skein.js.

export interface Position {
  epoch: string;
  offset: number;
}

/** A publication: the publisher's object, or the protocol's envelope with `data`. */
export interface Publication {
  channel: string;
  epoch?: string;
  offset?: number;
  type?: string;
  data?: unknown;
  encoding?: "base64";
  [field: string]: unknown;
}

/** A message of the user's own. One with a `message_id` waits on the server to be acknowledged. */
export interface UserMessage {
  type?: string;
  message_id?: number;
  [field: string]: unknown;
}

export interface Answer {
  type: string;
  id?: string | number;
  [field: string]: unknown;
}

export interface Member {
  connection: string;
  user?: string;
  info?: unknown;
}

export interface PresenceAnswer extends Answer {
  channel: string;
  count: number;
  members?: Member[];
}

export interface HistoryAnswer extends Answer, Position {
  type: "history";
  id?: string;
  channel: string;
  publications: Publication[];
  more: boolean;
  recovered?: boolean;
}

/** What a request fails with: one of the protocol's codes, or `timed_out`, `connection_lost`, `closed`, `busy`. */
export class SkeinError extends Error {
  readonly code: string;
  readonly field?: string;
  readonly retryAfterMs?: number;
  /** The subscription's, if it is about one. */
  readonly channel?: string;
}

/** Publications are missing here: load the state from where it is kept; later items follow it. */
export class Gap {
  /** The topic; or what was subscribed to, if anything of it may be missing. */
  readonly channel: string;
  readonly epoch?: string;
  /** What is missing ends here. */
  readonly offset?: number;
  /** How many, where the server left them out because this client took them too slowly (`drop`, `conflate`). */
  readonly missing?: number;
}

/** Who has come to a topic and who has gone since the last one. No publication is one. */
export class PresenceChange {
  readonly type: "presence_change";
  readonly channel: string;
  readonly count: number;
  /** Absent where there are more members than the server lists. */
  readonly joined?: Member[];
  readonly left?: Member[];
}

export type State = "connecting" | "connected" | "waiting" | "closed";

export interface StateChange {
  state: State;
  /** Why the last connection ended; empty if there was none. */
  reason: string;
  /** While waiting: how many milliseconds. */
  pause?: number;
}

export interface SubscribeOptions {
  /**
   * What was seen last; without it, it begins with what comes now. Beside another subscription to the channel nothing
   * is sent again: if that has seen more or less, this one begins with a Gap.
   */
  recover?: Position;
  /** What presence says of this subscription; any JSON. Of several to one channel the first one's counts. */
  info?: unknown;
  /** Items not yet taken, 1 or more; past it the oldest make room for a Gap. */
  bufferSize?: number;
}

/** What a loop over a subscription gets: tell them apart with `instanceof`. */
export type Item = Publication | Gap | PresenceChange;

/** Publications go to listeners for `message` if there are any, also those that came before; else to the iterator. */
export class Subscription implements AsyncIterable<Item> {
  private constructor();
  [Symbol.asyncIterator](): AsyncIterator<Item>;
  readonly channel: string;
  /** Where the last item that was taken stands, or where it began; undefined where the topic keeps no history. */
  readonly position?: Position;
  /** Whether the server has confirmed it on the present connection. */
  readonly live: boolean;
  unsubscribe(): void;
  /** Returns a function that ends the listening. */
  on(event: "message", listener: (message: Publication) => void): () => void;
  on(event: "gap", listener: (gap: Gap) => void): () => void;
  on(event: "presence", listener: (change: PresenceChange) => void): () => void;
  on(event: "subscribed", listener: (answer: Answer & Partial<Position> & { recovered?: boolean }) => void): () => void;
  /** null: it was ended here. */
  on(event: "ended", listener: (why: SkeinError | null) => void): () => void;
}

export interface ClientOptions {
  /** A token, or a function that gets one: before each connection, and before the one in use expires. */
  token?: string | (() => string | Promise<string>);
  /** Where the token goes. Default: "subprotocol"; the server's route must list `skein.v1`, or what `protocols` offers. */
  tokenPlace?: "subprotocol" | "first-message";
  /** Subprotocols to offer; default: none, or `skein.v1` with a token. */
  protocols?: string[];
  /** Milliseconds: the first pause before trying again, the longest, and after how long a connection has been good. */
  minPause?: number;
  maxPause?: number;
  steadyAfter?: number;
  /** Milliseconds for the token, the connection and the server's welcome; then it tries again. */
  connectTimeout?: number;
  /** Milliseconds until a request fails with `timed_out`. */
  requestTimeout?: number;
  /** Items of a subscription, and messages, not yet taken. 1 or more; default: 4,096. */
  bufferSize?: number;
  /** Acknowledge the user's messages once they have been handled. Default: true. */
  acknowledge?: boolean;
  /** Connect at once. Default: true. */
  connect?: boolean;
  /** Where there is no global one, as in older Node: the package `ws`. */
  WebSocket?: unknown;
  /** For tests. */
  random?: () => number;
  now?: () => number;
  setTimeout?: (call: () => void, ms: number) => unknown;
  clearTimeout?: (timer: never) => void;
}

export class Client {
  constructor(url: string, options?: ClientOptions);
  readonly url: string;
  readonly state: State;
  /** Messages of the user's own that there was no room for (`bufferSize`); stored ones come again. */
  readonly dropped: number;

  subscribe(channel: string, options?: SubscribeOptions): Subscription;
  publish(channel: string, data: unknown): Promise<Position | undefined>;
  history(channel: string, options?: { limit?: number; since?: Position }): Promise<HistoryAnswer>;
  presence(channel: string): Promise<PresenceAnswer>;
  ping(): Promise<Answer>;
  /** Any request, of the protocol or of the server's own. */
  request(fields: { type: string; [field: string]: unknown }): Promise<Answer>;
  /** Resolves when the stored message is removed for good. */
  ack(messageId: number): Promise<void>;
  /** Messages of the user's own; each is acknowledged when the next one is asked for. */
  messages(): AsyncIterableIterator<UserMessage>;

  reconnect(): void;
  close(code?: number, reason?: string): void;

  /** Returns a function that ends the listening. */
  on(event: "state", listener: (change: StateChange) => void): () => void;
  /** The message is acknowledged once the listener has returned, or its promise is fulfilled. */
  on(event: "message", listener: (message: UserMessage) => unknown): () => void;
  /**
   * An error of the server's that answers no request; or, with a `channel`, why a subscription has not begun yet
   * (`rate_limited`, `store_unavailable`, `internal_error`, `timed_out`, …): it is asked for again; or, once,
   * `buffer_full` when messages of the user's own begin to be dropped.
   */
  on(event: "error", listener: (error: SkeinError) => void): () => void;
}
