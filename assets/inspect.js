// Inspect: what belongs together lights up together; rows of stages unfold.

(() => {
    const holder = (element) => element.closest?.('#inspect [data-span]');
    let lit = null;

    const light = (span) => {
        if (span === lit) return;
        lit = span;
        for (const each of document.querySelectorAll('#inspect [data-span]'))
            each.classList.toggle('lit', span !== null && each.dataset.span === span);
    };

    // What has the focus stays lit while the pointer is elsewhere.
    const focused = () => holder(document.activeElement)?.dataset.span ?? null;
    const show = (event) => light(holder(event.target)?.dataset.span ?? focused());
    document.addEventListener('pointerover', show);
    document.addEventListener('focusin', show);
    document.addEventListener('focusout', () => light(null));

    document.addEventListener('click', (event) => {
        const button = event.target.closest('#inspect button.unfold');
        const line = button ?? event.target.closest('#inspect .stage-row .line');
        if (!line || event.target.closest('.axis')) return;
        const row = line.closest('.stage-row');
        const unfolded = row.querySelector('.unfolded');
        unfolded.hidden = !unfolded.hidden;
        row.querySelector('.unfold').setAttribute('aria-expanded', String(!unfolded.hidden));
    });
})();

// Where it looked: the map of the word that is pointed at, over images in grey. The maps stand in
// the page, small (vlm/ui/answer_view.py); here they are coloured and enlarged.

(() => {
    const STOPS = [[51, 0, 89], [204, 38, 64], [255, 153, 13], [255, 255, 166]];
    const SIDE = 256;
    const decoded = new WeakMap();  // figure -> {own, beyond}
    let view = 'own', asked = false, height = 0;

    // Red, green, blue and opacity of each level, as one number.
    const bytes = new Uint8ClampedArray(4 * 256), colours = new Uint32Array(bytes.buffer);
    for (let level = 0; level < 256; level++) {
        const place = level / 255 * (STOPS.length - 1), low = Math.min(Math.floor(place), 2);
        const mixed = STOPS[low].map((part, n) => part + (STOPS[low + 1][n] - part) * (place - low));
        bytes.set([...mixed, 235 * (level / 255) ** 0.8], 4 * level);
    }

    const mapsOf = (figure) => {
        if (!decoded.has(figure)) {
            const read = (text) => Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
            const {own, beyond} = figure.dataset;
            decoded.set(figure, {own: read(own), beyond: read(beyond)});
        }
        return decoded.get(figure);
    };

    // Where pixels lie between the middles of cells: (cell, the next, how far towards it).
    const between = (pixels, cells, steps) => Array.from({length: pixels}, (_, pixel) => {
        const place = Math.max(0, Math.min(cells - 1, (pixel + 0.5) * cells / pixels - 0.5));
        if (steps) return [Math.round(place), Math.round(place), 0];
        const low = Math.floor(place), far = place - low;
        return [low, Math.min(low + 1, cells - 1), far * far * (3 - 2 * far)];  // round, no kinks
    });

    const paint = (figure, word) => {
        const rows = +figure.dataset.rows, columns = +figure.dataset.columns;
        const map = mapsOf(figure)[view].subarray(word * rows * columns, (word + 1) * rows * columns);
        const canvas = figure.querySelector('canvas');
        const {width, height} = canvas.parentElement.getBoundingClientRect();
        const scale = SIDE / Math.max(width, height, 1);
        canvas.width = Math.max(1, Math.round(width * scale));
        canvas.height = Math.max(1, Math.round(height * scale));
        const drawing = canvas.getContext('2d');
        const pixels = drawing.createImageData(canvas.width, canvas.height);
        const painted = new Uint32Array(pixels.data.buffer);
        const steps = figure.dataset.steps === 'true';
        const across = between(canvas.width, columns, steps), down = between(canvas.height, rows, steps);
        down.forEach(([top, bottom, y], row) => across.forEach(([left, right, x], column) => {
            const upper = map[top * columns + left] * (1 - x) + map[top * columns + right] * x;
            const lower = map[bottom * columns + left] * (1 - x) + map[bottom * columns + right] * x;
            const level = Math.round(upper * (1 - y) + lower * y);
            painted[row * canvas.width + column] = colours[level];
        }));
        drawing.putImageData(pixels, 0, 0);
    };

    const sectionOf = (element) => element?.closest?.('#inspect-answer .looked[data-state=explained]');
    const find = () => document.querySelector('#inspect-answer .looked[data-state=explained]');
    const wordOf = (element) => element?.closest?.('#inspect-answer .word');
    const chosen = (section) => section.querySelector('.word[aria-pressed=true]');

    // The word whose map is shown: the one pointed at, else the one with the focus, else the
    // chosen one, else the whole answer.
    const show = (word) => {
        const section = sectionOf(word) ?? find();
        if (!section) return;
        const focused = wordOf(document.activeElement);
        word ??= focused ?? chosen(section) ?? section.querySelector('.word.whole');
        for (const each of section.querySelectorAll('.word.shown')) each.classList.remove('shown');
        word.classList.add('shown');
        for (const figure of section.querySelectorAll('.sight')) paint(figure, +word.dataset.word);
        const said = section.querySelector('.said');
        if (said && said.textContent !== word.dataset.said) said.textContent = word.dataset.said;
        section.dataset.shown = word.dataset.word;
        for (const each of section.querySelectorAll('.chances'))
            each.classList.toggle('other', each.dataset.of !== word.dataset.word);
    };

    const choose = (word) => {
        const section = sectionOf(word), before = chosen(section);
        before?.setAttribute('aria-pressed', 'false');
        const now = before === word ? null : word;
        now?.setAttribute('aria-pressed', 'true');
        for (const each of section.querySelectorAll('.chances'))
            each.hidden = each.dataset.of !== now?.dataset.word;
        section.querySelector('.hint').hidden = now !== null && now.dataset.word !== '0';
        show(now);
    };

    const turn = (button) => {
        view = button.dataset.map;
        for (const each of button.parentElement.children)
            each.setAttribute('aria-pressed', String(each === button));
        show(null);
    };

    document.addEventListener('pointerover', (event) => {
        const word = wordOf(event.target);
        if (word && event.pointerType !== 'touch') show(word);
    });
    document.addEventListener('pointerout', (event) => {
        if (wordOf(event.target) && !wordOf(event.relatedTarget)) show(null);
    });
    document.addEventListener('focusin', (event) => {
        const word = wordOf(event.target);
        if (!word) return;
        for (const each of sectionOf(word).querySelectorAll('.word')) each.tabIndex = -1;
        word.tabIndex = 0;
        show(word);
    });
    document.addEventListener('focusout', (event) => {
        if (wordOf(event.target) && !wordOf(event.relatedTarget)) setTimeout(() => show(null));
    });
    document.addEventListener('click', (event) => {
        if (event.target.closest('#inspect-ask, [data-tab=inspect][data-turn]')) asked = true;
        const word = wordOf(event.target), button = event.target.closest('.looked [data-map]');
        if (word) choose(word);
        else if (button) turn(button);
    });

    // One stop for Tab; arrows go from word to word.
    document.addEventListener('keydown', (event) => {
        const word = wordOf(event.target);
        if (!word || event.altKey || event.ctrlKey || event.metaKey) return;
        const words = [...sectionOf(word).querySelectorAll('.word')], at = words.indexOf(word);
        const next = {ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: words.length - 1}[event.key];
        if (next === undefined || !words[next]) return;
        event.preventDefault();
        words[next].focus();
    });

    // What the server has drawn anew: its first map, and into sight where it was asked for here.
    new MutationObserver(() => {
        const section = document.querySelector('#inspect-answer .looked');
        if (!section) height = 0;
        if (!section || section.dataset.seen) return;
        section.dataset.seen = 'true';
        if (section.dataset.state === 'explained') height = section.offsetHeight;
        else if (section.dataset.state === 'running') section.style.minHeight = `${height}px`;  // what is below stays where it is
        if (asked && section.getBoundingClientRect().top > 0.6 * innerHeight)
            section.scrollIntoView({block: 'start'});
        asked &&= section.dataset.state === 'running';  // pictures above it may come late
        for (const button of section.querySelectorAll('[data-map]'))
            button.setAttribute('aria-pressed', String(button.dataset.map === view));
        if (!section.querySelector('[data-map]')) view = 'own';
        show(null);
    }).observe(document, {childList: true, subtree: true});
    for (const kind of ['wheel', 'touchmove', 'keydown'])  // somebody goes elsewhere
        addEventListener(kind, () => { asked = false; }, {passive: true});
    addEventListener('resize', () => show(null));
})();
