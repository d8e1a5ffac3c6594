// Keeps the overview up to date, and copies addresses. Without it the page is whole, as of when it was loaded.
'use strict';
(() => {
  document.documentElement.classList.add('scripted');

  // Makes `from` what `to` is and keeps the nodes that stay: whoever is at a button stays there.
  const key = (node) => (node.nodeType === Node.ELEMENT_NODE && (node.id || node.getAttribute('aria-labelledby'))) || '';
  const isSame = (one, other) => one.nodeName === other.nodeName && key(one) === key(other);
  const morph = (from, to) => {
    if (from.nodeType !== Node.ELEMENT_NODE) {
      if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
      return;
    }
    for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
    for (const { name } of [...from.attributes]) {
      // What a person has opened stays open.
      if (!to.hasAttribute(name) && name !== 'open') from.removeAttribute(name);
    }
    children(from, to);
  };
  const children = (from, to) => {
    let next = from.firstChild;
    const drop = (end) => {
      while (next !== end) {
        const gone = next;
        next = next.nextSibling;
        gone.remove();
      }
    };
    for (const wanted of [...to.childNodes]) {
      let found = next;
      while (found && !isSame(found, wanted)) found = found.nextSibling;
      if (found) {
        drop(found);
        morph(found, wanted);
        next = found.nextSibling;
      } else {
        from.insertBefore(wanted, next);
      }
    }
    drop(null);
  };

  const live = document.getElementById('live');
  if (live) {
    let state = ['', ''];
    const say = (text, word) => { state = [text, word]; show(); };
    const show = () => {
      const feed = document.getElementById('feed');
      if (!feed) return;
      if (feed.textContent !== state[0]) feed.textContent = state[0];
      feed.className = state[1];
    };
    let source;
    let late;
    const connect = () => {
      source = new EventSource(live.dataset.source);
      source.addEventListener('overview', (event) => {
        clearTimeout(late);
        const fresh = document.createElement('template');
        fresh.innerHTML = event.data;
        // What this script says stays, or a screen reader would read it each time.
        const feed = fresh.content.getElementById('feed');
        if (feed) [feed.textContent, feed.className] = ['Live.', 'on'];
        children(live, fresh.content);
        say('Live.', 'on');
        const title = live.querySelector('h1');
        if (title) document.title = `${title.textContent} · gateway`;
      });
      source.addEventListener('ended', () => { source.close(); location.reload(); });
      source.addEventListener('error', () => {
        const lost = () => say('Not live: no connection, tried again.', 'off');
        clearTimeout(late);
        // A stream ends from time to time, and the browser asks for the next one; where it was refused it does not.
        if (source.readyState !== EventSource.CLOSED) late = setTimeout(lost, 4000);
        else {
          lost();
          setTimeout(connect, 5000);
        }
      });
    };
    connect();
    addEventListener('pagehide', () => source.close());
    addEventListener('pageshow', (event) => { if (event.persisted) connect(); });
  }

  document.addEventListener('click', async (event) => {
    const button = event.target.closest('[data-copy]');
    if (!button) return;
    const text = button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // A page that did not come over TLS has no clipboard of that kind.
      const field = document.createElement('textarea');
      field.value = text;
      document.body.append(field);
      field.select();
      document.execCommand('copy');
      field.remove();
      button.focus();
    }
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  });
})();
