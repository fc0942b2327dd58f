/** A page that shows the notifications of the user who is logged in. */

import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import type { TokenReason } from './hermes-client.js';
import { useHermes } from './use-hermes';

declare const HERMES_URL: string; // server.mjs puts it in when it bundles this file

async function getToken(_reason: TokenReason, signal: AbortSignal): Promise<string | null> {
  const response = await fetch('/my-token', { signal });
  if (response.status === 401) return null; // not logged in: the state becomes "refused"
  if (!response.ok) throw new Error(`/my-token answers ${response.status}`); // the client tries again later
  return response.text();
}

function App() {
  const { state, notifications, acknowledge } = useHermes(`${HERMES_URL}/ws/notifications`, getToken);
  return (
    <main>
      <p role="status">Hermes: {state}</p>
      <ul>
        {notifications.map(({ id, type, title, message }) => (
          <li key={id} className={type}>
            <strong>{title}</strong> {message} <button onClick={() => acknowledge(id)}>Acknowledge</button>
          </li>
        ))}
      </ul>
    </main>
  );
}

createRoot(document.querySelector('#root')!).render(<StrictMode><App /></StrictMode>);
