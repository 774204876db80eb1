import type { Credentials } from './api';
import type { Top } from './conversation';
import type { Row } from './message';
import type { Status } from './stream';

/** What a tab says to the hub. */
export type ToHub =
  | { type: 'login'; credentials: Credentials }
  | { type: 'join'; name: string } // a session that another tab is in
  | { type: 'leave' } // this tab only
  | { type: 'logout' } // all tabs of this user
  | { type: 'resume'; credentials: Credentials; at: Place; rows: Row[]; top: Top } // what another hub has begun
  | { type: 'older' } // the messages before the first row
  | { type: 'wake' } // the user looks
  | { type: 'doubt' } // a send fails: the connection may be lost
  | { type: 'break' } // the network has changed, or the user wants to try now: the connection is probably lost
  | { type: 'ping' };

/** Where a stream is: the epoch, and the number of the next message. */
export interface Place {
  epoch: string;
  next: number;
}

/** What the hub says to a tab. */
export type FromHub =
  | { type: 'sessions'; names: string[] }
  | { type: 'joined'; credentials: Credentials; at: Place; rows: Row[]; top: Top; status: Status }
  | { type: 'rows'; at: Place; rows: Row[]; fresh: boolean }
  | { type: 'status'; at: Place; status: Status; why?: string | undefined }
  | { type: 'older'; rows: Row[]; top: Top } // what is to stand above the first row
  | { type: 'rewound' } // the server has lost the end of its log
  | { type: 'denied'; reason: 'credentials' | 'unreachable'; why?: string | undefined } // the answer to login
  | { type: 'ended'; reason: 'logout' | 'credentials' }
  | { type: 'pong' }
  | { type: 'unknown' }; // the hub has forgotten the tab

/** The end of a channel that leads to a tab. */
export interface Port {
  postMessage(msg: FromHub): void;
}
