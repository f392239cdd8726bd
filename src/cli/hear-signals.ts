/**
 * Lets handlers of signals run that came while this thread was at work: the event loop hears them where it polls, and behind a
 * callback of that phase the next immediate comes without another poll, the one after it with one.
 */
export async function hearSignals(): Promise<void> {
  for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve));
}
