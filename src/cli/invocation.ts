/** A parsed command line: what it asks of the experiment, and the command's own flags. */
export interface Invocation {
  readonly command: string;
  /** The experiment file. */
  readonly file: string | undefined;
  /** Keys of the experiment given as flags, in order: a dotted path and the text. */
  readonly keys: readonly (readonly [path: string, text: string])[];
  /** Capacities of the devices. */
  readonly memory: string | undefined;
  readonly own: Readonly<Record<string, string | boolean | undefined>>;
  readonly json: boolean;
  readonly quiet: boolean;
  /** Fires on SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
}

/** A flag's text. */
export const textOf = (invocation: Invocation, name: string): string | undefined => {
  const value = invocation.own[name];
  return typeof value === 'string' ? value : undefined;
};
