import type { MessagePort } from 'node:worker_threads';
import type { Endpoint } from 'comlink';

/** Comlink speaks to DOM-like ports; Node's MessagePort is an EventEmitter with the same messages. */
export function nodeEndpoint(port: MessagePort): Endpoint {
  const wrapped = new WeakMap<object, (data: unknown) => void>();
  return {
    postMessage: port.postMessage.bind(port) as Endpoint['postMessage'],
    addEventListener: (_type, listener) => {
      const handler = (data: unknown) => {
        const event = { data } as MessageEvent;
        if ('handleEvent' in listener) listener.handleEvent(event);
        else listener(event);
      };
      port.on('message', handler);
      wrapped.set(listener, handler);
    },
    removeEventListener: (_type, listener) => {
      const handler = wrapped.get(listener);
      if (handler) port.off('message', handler);
    },
    start: () => port.start(),
  };
}
