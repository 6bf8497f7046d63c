// The little that the page does by itself: buttons in HTML, copying, the drawer, keys, and the
// conversations that a visitor chose to keep in this browser.

window.diptych = (() => {
    // Never something that a model wrote as HTML into its answer, whatever it calls itself.
    const written = (element) => element.closest('.md') !== null;
    const find = (selector) =>
        [...document.querySelectorAll(selector)].find((element) => !written(element)) ?? null;
    document.addEventListener('submit', (event) => {
        if (written(event.target)) event.preventDefault();  // it would leave the page
    });

    // ---- buttons that the server draws as HTML ----

    // What a button is for stays the same when its surroundings are drawn anew: so does the focus.
    const keepFocus = (button) => {
        const data = Object.entries(button.dataset).map(([name, value]) =>
            `[data-${name}="${CSS.escape(value)}"]`).join('');
        const deadline = performance.now() + 2000;
        const restore = () => {
            const again = find(`button${data}`);
            if (document.activeElement === document.body && again) again.focus();
            else if (performance.now() < deadline) requestAnimationFrame(restore);
        };
        requestAnimationFrame(restore);
    };

    const listen = (root, trigger) => {
        document.addEventListener('click', (event) => {
            const button = event.target.closest(`#${root} button[data-act]`);
            if (!button || written(button)) return;
            keepFocus(button);
            withStored({...button.dataset}).then(trigger);
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
    const drawer = (open = !isOpen()) => {
        find('#settings').classList.toggle('open', open);
        find('#settings-toggle').setAttribute('aria-expanded', open);
        (open ? find('#settings textarea') : find('#settings-toggle')).focus();
    };

    // ---- keys ----

    document.addEventListener('keydown', (event) => {
        if (event.isComposing || event.defaultPrevented) return;
        const box = find('#message textarea');
        if (event.key === 'Escape') {
            if (isOpen()) drawer(false);
            else find('#stop:enabled')?.click();
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

    let current = {id: crypto.randomUUID?.() ?? String(Math.random()), revision: 0};

    const startAnew = () => {
        current = {id: crypto.randomUUID?.() ?? String(Math.random()), revision: 0};
    };

    // One after the other, as each looks at what the one before has stored.
    let working = Promise.resolve();
    const inTurn = (work) => {
        const done = working.then(work);
        working = done.catch(() => {});
        return done;
    };

    // Another tab may have gone on with the same conversation: then this one becomes a copy.
    const keep = (title, data) => inTurn(async () => {
        const stored = await store('readonly', (records) => records.get(current.id));
        if (stored && stored.revision !== current.revision) startAnew();
        current.revision += 1;
        const saved = new Date().toISOString();
        await store('readwrite', (records) => records.put({...current, title, data, saved}));
    });

    const list = async () => {
        const records = await store('readonly', (all) => all.getAll());
        return records.sort((a, b) => b.saved.localeCompare(a.saved))
            .map(({id, title, saved}) => ({id, title, saved}));
    };

    const open = (id) => inTurn(async () => {
        const record = await store('readonly', (records) => records.get(id));
        if (record) current = {id: record.id, revision: record.revision};
        return record ? record.data : '';
    });

    const forget = (id) => inTurn(() =>
        store('readwrite', (records) => id ? records.delete(id) : records.clear()));

    return {listen, drawer, keep, list, open, forget, startAnew};
})();
