"""The page at `/` until the studio is there: plain HTML and CSS, without scripts, light and dark."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from html import escape

CSS = """
:root { color-scheme: light dark; --bg: #eff2f0; --panel: #fff; --subtle: #f3f6f4; --line: #e3e8e5; --line2: #ced6d2;
  --ink: #15201b; --ink2: #46534d; --ink3: #5e6b65; --accent: #12705a; --on-accent: #fff; --accent-ink: #0e654f;
  --err: #b92c2c; --shadow: 0 1px 2px rgb(21 32 27 / 6%), 0 8px 24px rgb(21 32 27 / 6%); }
@media (prefers-color-scheme: dark) {
  :root { --bg: #0b0e0d; --panel: #141918; --subtle: #1b2120; --line: #252d2a; --line2: #38423e; --ink: #e9efec;
    --ink2: #b2beb8; --ink3: #8c9993; --accent: #38b68e; --on-accent: #04150f; --accent-ink: #5fd2ad; --err: #f08a84;
    --shadow: none; } }
* { box-sizing: border-box; margin: 0; }
body { min-height: 100vh; display: grid; place-items: center; padding: 28px 20px; background: var(--bg);
  color: var(--ink2); font: 13px/20px Inter, ui-sans-serif, system-ui, sans-serif; }
main { width: 100%; max-width: 400px; padding: 28px; background: var(--panel); border-radius: 8px;
  box-shadow: 0 0 0 1px var(--line2), var(--shadow); }
header { display: flex; align-items: center; gap: 10px; margin-bottom: 20px; color: var(--ink); font-weight: 600; }
header svg { color: var(--accent); }
h1 { margin-bottom: 8px; color: var(--ink); font-size: 20px; line-height: 28px; font-weight: 650; }
p + p, p + form, p + dl, dl + p, form + p { margin-top: 16px; }
code { padding: 1px 5px; border-radius: 4px; background: var(--subtle); color: var(--ink);
  font: 12px/19px "JetBrains Mono", ui-monospace, monospace; }
label { display: block; margin-bottom: 6px; color: var(--ink3); font-size: 12px; line-height: 16px; }
input { width: 100%; height: 34px; padding: 0 10px; border: 1px solid var(--line2); border-radius: 6px;
  background: var(--panel); color: var(--ink); font: inherit; }
button { height: 34px; padding: 0 14px; border: 0; border-radius: 6px; background: var(--accent);
  color: var(--on-accent); font: inherit; font-weight: 600; cursor: pointer; }
input + button { width: 100%; margin-top: 12px; }
button.quiet { height: 28px; padding: 0 10px; background: var(--subtle); color: var(--ink2);
  box-shadow: inset 0 0 0 1px var(--line2); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
a { color: var(--accent-ink); text-underline-offset: 2px; }
dl { display: grid; grid-template-columns: 1fr auto; border: 1px solid var(--line); border-radius: 6px; }
dt, dd { padding: 8px 12px; border-top: 1px solid var(--line); }
dt:first-of-type, dd:first-of-type { border-top: 0; }
dd { color: var(--ink); font-variant-numeric: tabular-nums; text-align: right; }
.problem { color: var(--err); }
footer { display: flex; justify-content: space-between; align-items: center; margin-top: 20px; }
"""
POLICY = (
    "default-src 'none'; style-src 'sha256-"
    + b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
    + "'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
LOGO = (
    '<svg width="24" height="24" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.75" '
    'stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">'
    '<path d="M11 20A7 7 0 0 1 9.8 6.1C15.5 5 17 4.48 19 2c1 2 2 4.18 2 8 0 5.5-4.78 10-10 10Z"/>'
    '<path d="M2 21c0-3 1.85-5.36 5.08-6C9.5 14.52 12 13 13 12"/></svg>'
)


def _page(title: str, content: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
        f"<header>{LOGO}Flowleaf</header>\n<h1>{escape(title)}</h1>\n{content}\n</main>\n</body>\n</html>\n"
    )


def signin_page(*, with_password: bool, message: str = "") -> str:
    """The way in: a form for the password, or where to find the address."""
    problem = f'<p class="problem" role="alert">{escape(message)}</p>\n' if message else ""
    if not with_password:
        return _page(
            "Sign in",
            problem + "<p>Open the address that <code>flowleaf up</code> printed. It signs this browser in, once; "
            "start <code>flowleaf up</code> anew for another one.</p>\n"
            "<p>To sign in with a password, set <code>FLOWLEAF_PASSWORD</code>.</p>",
        )
    return _page(
        "Sign in",
        problem + '<form method="post" action="/signin">\n<label for="password">Password</label>\n'
        '<input id="password" name="password" type="password" autocomplete="current-password" required autofocus>\n'
        '<button type="submit">Sign in</button>\n</form>\n'
        "<p>It is what <code>FLOWLEAF_PASSWORD</code> says.</p>",
    )


def home_page(counts: Mapping[str, str]) -> str:
    """What is here for those who are signed in."""
    rows = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in counts.items())
    return _page(
        "Flowleaf is running",
        "<p>The studio comes next. Until then workflows are imported by <code>flowleaf import FILE --publish</code> "
        "or over the API, and run by webhooks, schedules and calls.</p>\n"
        f"<dl>\n{rows}\n</dl>\n"
        '<p><a href="/api/openapi.json">The API, as OpenAPI</a> · '
        '<a href="/metrics">Metrics</a></p>\n'
        '<footer><span>You are signed in.</span><form method="post" action="/signout">'
        '<button class="quiet" type="submit">Sign out</button></form></footer>',
    )
