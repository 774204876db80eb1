import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { rememberedUser } from '../store';
import type { LoginProblem, Tab } from '../tab';
import { Logo } from './icons';

const problems: Record<LoginProblem, string> = {
  credentials: 'The name or the password is wrong.',
  unreachable: 'The server cannot be reached. Try again in a moment.',
  crowded:
    'SimpleChat is open in five tabs: with more, this browser would have no connection to the server left. Close one, and log in here again.',
  expired: 'Your password was changed. Log in again.',
};

export function Login({ tab }: { tab: Tab }) {
  const name = useRef<HTMLInputElement>(null);
  const password = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => {
    // Who was faster than the script is typing somewhere already.
    const user = rememberedUser();
    if (document.activeElement !== document.body) return;
    name.current!.value ||= user;
    (user === '' ? name : password).current!.focus();
  }, []);
  useEffect(() => {
    if (tab.problem === 'credentials') password.current?.select();
  }, [tab.problem, tab.busy]);
  const submit = (event: Event) => {
    event.preventDefault();
    if (tab.busy) return;
    tab.login({ name: name.current!.value.trim(), password: password.current!.value });
  };
  const wrong = tab.problem === 'credentials';
  return (
    <main class="login">
      <form method="post" onSubmit={submit} aria-labelledby="title">
        <Logo />
        <h1 id="title">SimpleChat</h1>
        {tab.others.map(other => (
          <button key={other} type="button" class="continue" onClick={() => tab.join(other)}>
            Continue as <bdi>{other}</bdi>
          </button>
        ))}
        <label>
          Name
          <input
            ref={name}
            name="username"
            autocomplete="username"
            autocapitalize="none"
            spellcheck={false}
            required
            aria-invalid={wrong}
            aria-describedby="problem"
          />
        </label>
        <label>
          Password
          <input
            ref={password}
            name="password"
            type="password"
            autocomplete="current-password"
            required
            aria-invalid={wrong}
            aria-describedby="problem"
          />
        </label>
        <p id="problem" class="problem" role="alert">
          {tab.problem && (tab.why ?? problems[tab.problem])}
        </p>
        <button class="primary" aria-disabled={tab.busy}>
          {tab.busy ? 'Logging in…' : 'Log in'}
        </button>
      </form>
    </main>
  );
}
