/** A React hook around hermes-client.js, which reconnects, sends pings and renews its token. */

import { useEffect, useRef, useState } from 'react';
import { HermesClient, type NotificationFrame, type Options, type State } from './hermes-client.js';

const NOTIFICATIONS_MAX = 50;

export interface Hermes {
  state: State;
  notifications: readonly NotificationFrame[]; // newest first
  acknowledge: (id: string) => void;
}

/**
 * Keeps one connection open while the component is mounted.
 *
 * `url` is that of a route, such as `wss://hermes.example/ws/notifications`; another one opens another connection.
 * `getToken` may be a new function at each render: only the latest one is called, and the connection stays.
 */
export function useHermes(url: string, getToken: Options['getToken']): Hermes {
  const [state, setState] = useState<State>('closed');
  const [notifications, setNotifications] = useState<readonly NotificationFrame[]>([]);
  const latestGetToken = useRef(getToken);
  const client = useRef<HermesClient>(null);

  useEffect(() => {
    latestGetToken.current = getToken;
  });

  useEffect(() => {
    const made = new HermesClient({ url, getToken: (...given) => latestGetToken.current(...given) });
    made.on('state', (status) => setState(status.state));
    made.on('notification', (frame) => {
      setNotifications((before) => [frame, ...before].slice(0, NOTIFICATIONS_MAX));
    });
    made.connect();
    client.current = made;
    return () => {
      made.close();
      setNotifications([]);
    };
  }, [url]);

  return { state, notifications, acknowledge: (id) => void client.current?.ack(id) };
}
