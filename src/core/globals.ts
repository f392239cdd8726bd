/// <reference lib="esnext.disposable" preserve="true" />
/**
 * What the public types name of the global scope and a project may lack: `await using` needs its library, and a signal is a
 * type of the DOM's or Node's types, of which a project may have neither. Types only.
 */
export {};

declare global {
  /** Merges with the whole of it where that is known. */
  interface AbortSignal {
    readonly aborted: boolean;
  }
}
