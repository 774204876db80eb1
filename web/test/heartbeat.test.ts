import { describe, expect, it } from 'vitest';
import { heartbeatIn } from '../src/api';

describe('Chat-Heartbeat', () => {
  it.each([
    ['25', 25_000],
    ['0.5', 500],
    ['0', 0],
    [undefined, undefined],
    ['soon', undefined],
    ['-1', undefined],
  ])('%s is %s ms', (value, want) => {
    expect(heartbeatIn(new Headers(value === undefined ? {} : { 'Chat-Heartbeat': value }))).toBe(want);
  });
});
