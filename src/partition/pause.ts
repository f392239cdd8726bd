/**
 * Lets the process breathe: timers, sockets and other tasks get their turn if 50 ms have passed since the last time. Rejects
 * with the signal's reason where that was aborted meanwhile.
 */
export function pauses(signal?: AbortSignal): () => Promise<void> | undefined {
  let last = performance.now();
  return () => {
    if (performance.now() - last < 50) return undefined;
    return new Promise((resolve, reject) => {
      setTimeout(() => {
        last = performance.now();
        if (signal?.aborted) reject(signal.reason as Error);
        else resolve();
      }, 0);
    });
  };
}
