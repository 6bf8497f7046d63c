// The little that the page does by itself: buttons in HTML, copying, the drawer, keys, and the
// conversations that a visitor chose to keep in this browser.

window.diptych = (() => {
    const STOPS = '#stop:enabled, #grid-stop:enabled, #versus-stop:enabled, #cancel-trace:enabled';
    // Never something that a model wrote as HTML into its answer, whatever it calls itself.
    // (Looked for around the element: a button of middle size has the same class as such text.)
    const written = (element) => element.parentElement.closest('.md') !== null;
    const find = (selector) =>
        [...document.querySelectorAll(selector)].find((element) => !written(element)) ?? null;
    document.addEventListener('submit', (event) => {
        if (written(event.target)) event.preventDefault();  // it would leave the page
    });

    // ---- buttons that the server draws as HTML ----

    // What a button is for stays the same when its surroundings are drawn anew: so does the focus.
    // Around the box, where the button itself is gone, its neighbour gets it, or the box.
    const keepFocus = (button) => {
        const data = Object.entries(button.dataset).map(([name, value]) =>
            `[data-${name}="${CSS.escape(value)}"]`).join('');
        const holder = button.closest('#composer .strip-holder, #notice');
        const started = performance.now();
        let gone = null, taken = null, over = false;
        for (const kind of ['pointerdown', 'keydown'])  // somebody goes on by themselves
            document.addEventListener(kind, () => { over = true; }, {once: true, capture: true});
        const restore = () => {
            const now = performance.now(), active = document.activeElement;
            const box = find('#message textarea');
            if (!button.isConnected) gone ??= now;
            // The box takes the focus by itself whenever it is filled, at times twice; later it is meant.
            const inBox = holder && active === box;
            if (inBox) taken ??= now;
            if (inBox && now - taken > 500) over = true;
            const lost = active === document.body || inBox;
            if (lost && !over && (gone !== null || active === box)) {
                const again = find(`button${data}`);
                const alike = holder?.querySelectorAll(`button[data-act="${button.dataset.act}"]`);
                if (again) again.focus();
                else if (holder && gone !== null && now - gone > 300) (alike[alike.length - 1] ?? box)?.focus();
            }
            if (!over && (gone === null ? now - started < 10000 : now - gone < 1000))
                requestAnimationFrame(restore);
        };
        requestAnimationFrame(restore);
    };

    const goTo = (tab) => find(`#tabs button[role=tab][data-tab-id=${tab}]`)?.click();
    let going = null;
    const arrive = () => {
        if (going) goTo(going);
        going = null;
    };

    const listen = (root, trigger) => {
        document.addEventListener('click', (event) => {
            const button = event.target.closest(`#${root} button[data-act]`);
            if (!button || written(button)) return;
            if (button.dataset.act === 'settings') {  // for the page alone
                drawer(true);
                return;
            }
            if (button.dataset.act === 'reload') {
                location.reload();
                return;
            }
            if (button.dataset.act === 'go_to') {
                goTo(button.dataset.tab);
                return;
            }
            if (button.dataset.act === 'send_to') {  // to another tab, once the server has them
                going = button.dataset.tab;
                trigger('submit', {...button.dataset});
                return;
            }
            keepFocus(button);
            withStored({...button.dataset}).then((data) => trigger('click', data));
        });
    };

    // What the browser keeps has to come from here.
    const withStored = async (data) => {
        if (data.act === 'open_kept') {
            drawer(false);
            return {...data, data: await open(data.id)};
        }
        if (data.act !== 'delete_kept') return data;
        await forget(data.id);
        return {...data, list: JSON.stringify(await list())};
    };

    // ---- what is loaded leads to the models ----

    document.addEventListener('click', (event) => {
        const status = event.target.closest('#model-status .status');
        if (status) goTo('models');
    });

    // ---- thoughts ----

    // An answer is drawn anew with every word: thoughts that a reader has opened stay open.
    const thoughts = () => [...document.querySelectorAll('#chat [data-testid=bot] .md')];
    let opened = new Set();
    document.addEventListener('click', (event) => {
        const summary = event.target.closest('#chat .md > details:first-child > summary');
        if (!summary) return;
        const place = thoughts().indexOf(summary.closest('.md'));
        if (summary.parentElement.open) opened.delete(place);  // it closes now
        else opened.add(place);
    });
    new MutationObserver(() => {
        if (opened.size === 0) return;
        const answers = thoughts();
        if (answers.length === 0) opened = new Set();
        for (const place of opened)
            answers[place]?.querySelector(':scope > details:first-child')
                ?.setAttribute('open', '');
    }).observe(document, {childList: true, subtree: true});

    // ---- copying ----

    const copy = async (button) => {
        try {
            await navigator.clipboard.writeText(button.dataset.copy);
        } catch {  // no permission, or a page without https: the old way
            const area = document.createElement('textarea');
            area.value = button.dataset.copy;
            document.body.append(area);
            area.select();
            document.execCommand('copy');
            area.remove();
            button.focus();
        }
        const words = button.textContent;
        if (words === button.dataset.done) return;
        button.textContent = button.dataset.done;
        setTimeout(() => { button.textContent = words; }, 1500);
    };
    document.addEventListener('click', (event) => {
        const button = event.target.closest('button[data-copy]');
        if (button && !written(button)) copy(button);
    });

    // ---- the settings drawer ----

    const isOpen = () => find('#settings')?.classList.contains('open') ?? false;
    const narrow = matchMedia('(max-width: 640px)');

    // Where the drawer covers everything, what is behind it cannot be reached by keys either.
    const shield = () => document.querySelectorAll('#header, [role=tablist], #conversation > *')
        .forEach((part) => { part.inert = part.id !== 'settings' && isOpen() && narrow.matches; });
    narrow.addEventListener('change', shield);

    const drawer = (open = !isOpen()) => {
        find('#settings').classList.toggle('open', open);
        describe();
        shield();
        (open ? find('#settings textarea') : find('#settings-toggle')).focus();
    };

    // What Gradio lets nobody say about its components.
    const describe = () => {
        const toggle = find('#settings-toggle'), settings = find('#settings');
        if (!toggle || !settings) return requestAnimationFrame(describe);
        toggle.setAttribute('aria-expanded', isOpen());
        toggle.setAttribute('aria-controls', 'settings');
        settings.setAttribute('role', 'dialog');
        settings.setAttribute('aria-labelledby', 'settings-title');
    };
    describe();

    // ---- the camera ----

    let granted = null;

    // Asked for here, as a refusal can be explained; Gradio's own button is pressed afterwards.
    const findCamera = async () => {
        if (find('#webcam')) return 'shown';
        if (!navigator.mediaDevices?.getUserMedia) return 'insecure';
        try {
            granted = await navigator.mediaDevices.getUserMedia({video: true});
            return 'ready';
        } catch (error) {
            return error.name === 'NotAllowedError' ? 'denied' : 'missing';
        }
    };

    // Ours is let go only when the other one has begun: some browsers would ask again.
    const startCamera = () => {
        const stream = granted, started = performance.now();
        granted = null;
        if (!stream) return;
        let pressed = false;
        const wait = () => {
            const video = find('#webcam video');
            if (!pressed && video) {
                find('#webcam [title="grant webcam access"] button')?.click();
                pressed = true;
            }
            if (video?.srcObject || performance.now() - started > 5000)
                stream.getTracks().forEach((track) => track.stop());
            else requestAnimationFrame(wait);
        };
        wait();
    };

    // ---- the end of the conversation stays in sight when the box below it grows ----

    const follow = () => {
        const log = find('#chat .bubble-wrap');
        if (!log) return requestAnimationFrame(follow);
        let atEnd = true;
        log.addEventListener('scroll', () => {
            atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 48;
        });
        new ResizeObserver(() => { if (atEnd) log.scrollTop = log.scrollHeight; }).observe(log);
    };
    requestAnimationFrame(follow);

    // ---- keys ----

    document.addEventListener('keydown', (event) => {
        if (event.isComposing || event.defaultPrevented) return;
        const box = find('#message textarea');
        if (event.key === 'Escape') {
            if (isOpen()) drawer(false);
            else [...document.querySelectorAll(STOPS)].find((stop) => stop.offsetParent && !written(stop))?.click();
        } else if (event.key === 'ArrowUp' && event.target === box && !box.value) {
            find('#edit:enabled')?.click();
        }
    });

    // ---- conversations kept in this browser ----
    // One record each: {id, revision, title, saved, data (base64 of an exported zip)}.

    const store = (mode, use) => new Promise((resolve, reject) => {
        const opening = indexedDB.open('diptych', 1);
        opening.onupgradeneeded = () =>
            opening.result.createObjectStore('conversations', {keyPath: 'id'});
        opening.onerror = () => reject(opening.error);
        opening.onsuccess = () => {
            const transaction = opening.result.transaction('conversations', mode);
            const request = use(transaction.objectStore('conversations'));
            transaction.oncomplete = () => { opening.result.close(); resolve(request.result); };
            transaction.onabort = transaction.onerror = () => reject(transaction.error);
        };
    });

    // One after the other, as each looks at what the one before has stored.
    let working = Promise.resolve();
    const inTurn = (work) => {
        const done = working.then(work);
        working = done.catch(() => {});
        return done;
    };

    // Record -> its revision as this tab saw it last, and what became of those another tab changed.
    const seen = new Map(), copies = new Map();

    // Another tab may have gone on with the same conversation: then this one becomes a copy.
    const keep = ({id, title, data}) => inTurn(async () => {
        let place = copies.get(id) ?? id;
        const stored = await store('readonly', (records) => records.get(place));
        if (stored && stored.revision !== seen.get(place)) {
            place = `${id}-${Date.now()}`;
            copies.set(id, place);
        }
        const revision = (seen.get(place) ?? 0) + 1, saved = new Date().toISOString();
        await store('readwrite', (records) =>
            records.put({id: place, revision, title, data, saved}));
        seen.set(place, revision);
    });

    const list = async () => {
        const records = await store('readonly', (all) => all.getAll());
        return records.sort((a, b) => b.saved.localeCompare(a.saved))
            .map(({id, title, saved}) => ({id, title, saved}));
    };

    const open = (id) => inTurn(async () => {
        const record = await store('readonly', (records) => records.get(id));
        if (record) seen.set(id, record.revision);
        copies.delete(id);
        return record ? record.data : '';
    });

    const forget = (id) => inTurn(() =>
        store('readwrite', (records) => id ? records.delete(id) : records.clear()));

    return {listen, arrive, goTo, drawer, findCamera, startCamera, keep, list, open, forget};
})();
