// Two pictures in one frame: views, slider, blink, linked zoom, regions. The server draws them
// (vlm/ui/compare_view.py); what moves is kept here, and laid on whatever is drawn anew.

window.diptych.compare = (() => {
    const BLINK = 700, STEP = 2, LEAP = 10, CLOSEST = 16, SHARE = 0.5, DRAGGED = 4;
    const still = matchMedia('(prefers-reduced-motion: reduce)');
    const state = {view: 'slider', before: 'slider', at: 50, zoom: 1, x: 0, y: 0,
        second: false, playing: !still.matches, boxes: true, region: null};
    let shown = null, key = null;

    const root = () => document.querySelector('#compare-images');
    const viewer = () => document.querySelector('#compare-images .viewer');
    const seen = () => { const here = viewer(); return here?.offsetParent ? here : null; };
    const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

    // ---- from the state to the page ----

    const draw = () => {
        const here = viewer();
        if (!here) return;
        here.dataset.view = state.view;
        here.classList.toggle('second', state.second);
        here.classList.toggle('plain', !state.boxes);
        here.classList.toggle('near', state.zoom > 1);
        for (const [name, value] of [['at', state.at], ['zoom', state.zoom], ['x', state.x], ['y', state.y]])
            here.style.setProperty(`--${name}`, value);
        for (const button of here.querySelectorAll('.segment'))
            button.setAttribute('aria-pressed', button.dataset.view === state.view);
        const slider = here.querySelector('#compare-slider');
        if (+slider.value !== Math.round(state.at)) slider.value = Math.round(state.at);
        const blink = here.querySelector('[data-do=blink]');
        const words = state.playing ? blink.dataset.pause : blink.dataset.play;
        if (blink.textContent !== words) blink.textContent = words;
        here.querySelector('[data-do=boxes]').checked = state.boxes;
        here.querySelector('[data-do=out]').disabled = state.zoom <= 1;
        here.querySelector('[data-do=fit]').disabled = state.zoom <= 1;
        for (const mark of root().querySelectorAll('[data-region]'))
            mark.classList.toggle('chosen', +mark.dataset.region === state.region);
    };

    // What the model sees arrives later, with the list beside the pictures.
    const take = (here) => {
        const findings = root().querySelector('.findings');
        const source = findings?.dataset.model ?? '';
        const picture = here.querySelector('.sheet.model img');
        if (source && picture.getAttribute('src') !== source) picture.src = source;
        const scale = here.querySelector('.scale.model');
        const words = findings?.querySelector('.model-scale')?.innerHTML ?? '';
        if (scale.innerHTML !== words) scale.innerHTML = words;
        here.querySelector('.segment[data-view=model]').disabled = !source;
        if (!source && state.view === 'model') state.view = 'slider';
        for (const item of findings?.querySelectorAll('.region') ?? [])
            for (const box of here.querySelectorAll(`.box[data-region="${item.dataset.region}"]`))
                box.classList.toggle('hardly', item.dataset.hardly === 'true');
    };

    const look = () => {
        const here = viewer();
        if (!here) { shown = key = null; return; }
        if (here !== shown && here.dataset.key !== key) {  // other pictures
            Object.assign(state, {at: 50, zoom: 1, x: 0, y: 0, second: false, region: null});
            key = here.dataset.key;
        }
        // The server's update may change the element in place, and take its style back.
        const anew = here !== shown || !here.style.getPropertyValue('--zoom');
        shown = here;
        take(here);
        if (anew) draw();
    };
    new MutationObserver(look).observe(document,
        {childList: true, subtree: true, attributes: true, attributeFilter: ['style', 'data-model']});

    setInterval(() => {
        if (state.view !== 'blink' || !state.playing || !seen()) return;
        state.second = !state.second;
        draw();
    }, BLINK);

    // ---- views, zoom, regions ----

    const view = (name) => {
        if (viewer().querySelector(`.segment[data-view=${name}]`).disabled) return;
        if (name !== state.view) state.before = state.view;
        state.view = name;
        state.second = false;
        state.playing = !still.matches;
        draw();
    };

    const place = (zoom, x, y) => {
        state.zoom = clamp(zoom, 1, CLOSEST);
        state.x = clamp(x, 1 - state.zoom, 0);
        state.y = clamp(y, 1 - state.zoom, 0);
        if (state.zoom === 1) state.region = null;
        draw();
    };

    // The point at (x, y) of the pane, from 0 to 1, stays where it is.
    const zoom = (factor, x = 0.5, y = 0.5) => {
        const next = clamp(state.zoom * factor, 1, CLOSEST), change = next / state.zoom;
        place(next, x - (x - state.x) * change, y - (y - state.y) * change);
    };
    const whole = () => place(1, 0, 0);

    const fly = (number) => {
        const box = viewer().querySelector(`.box[data-region="${number}"]`);
        if (!box) return;
        const [left, top, width, height] = ['left', 'top', 'width', 'height']
            .map((name) => parseFloat(box.style[name]) / 100);
        const next = clamp(Math.min(SHARE / width, SHARE / height), 1, CLOSEST);
        place(next, 0.5 - (left + width / 2) * next, 0.5 - (top + height / 2) * next);
        state.region = +number;
        draw();
    };

    const blink = () => {
        if (state.view !== 'blink') return view('blink');
        state.playing = false;
        state.second = !state.second;
        draw();
    };

    const does = {
        blink: () => { state.playing = !state.playing; draw(); },
        in: () => zoom(1.5),
        out: () => zoom(1 / 1.5),
        fit: whole,
        boxes: () => { state.boxes = !state.boxes; draw(); },
    };

    let dragged = false;
    document.addEventListener('click', (event) => {
        if (!event.target.closest?.('#compare-images') || !viewer()) return;
        const segment = event.target.closest('.segment'), region = event.target.closest('[data-region]');
        const tool = event.target.closest('button[data-do]');
        if (segment) view(segment.dataset.view);
        else if (region && !dragged) fly(region.dataset.region);
        else if (tool) does[tool.dataset.do]();
    });
    document.addEventListener('input', (event) => {
        if (event.target.id === 'compare-slider') { state.at = +event.target.value; draw(); }
    });
    document.addEventListener('change', (event) => {
        if (event.target.matches?.('#compare-images [data-do=boxes]')) does.boxes();
    });
    for (const [kind, on] of [['pointerover', true], ['pointerout', false], ['focusin', true], ['focusout', false]])
        document.addEventListener(kind, (event) => {
            const region = event.target.closest?.('#compare-images [data-region]')?.dataset.region;
            if (!region) return;
            for (const mark of root().querySelectorAll(`[data-region="${region}"]`))
                mark.classList.toggle('hot', on);
        });

    // ---- pointer: the slider, or the picture where it is zoomed; two fingers zoom ----

    const fingers = new Map();
    let start = null, pinch = null;

    // Where in a pane a pointer is, from 0 to 1.
    const inside = (pane, event) => {
        const frame = pane.getBoundingClientRect();
        return [(event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height];
    };
    const apart = () => {
        const [one, other] = [...fingers.values()];
        return Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
    };
    const between = (pane) => {
        const [one, other] = [...fingers.values()];
        return inside(pane, {clientX: (one.clientX + other.clientX) / 2, clientY: (one.clientY + other.clientY) / 2});
    };

    document.addEventListener('pointerdown', (event) => {
        const pane = event.target.closest?.('#compare-images .pane');
        dragged = false;
        if (!pane || event.button !== 0) return;
        fingers.set(event.pointerId, event);
        if (fingers.size === 2) { pinch = {pane, apart: apart()}; start = null; return; }
        const grip = event.target.closest('.divider');
        start = {pane, event, grip: Boolean(grip), x: state.x, y: state.y,
            slides: state.view === 'slider' && (grip || state.zoom === 1)};
    });
    document.addEventListener('pointermove', (event) => {
        if (!fingers.has(event.pointerId)) return;
        fingers.set(event.pointerId, event);
        if (pinch && fingers.size === 2) {
            const now = apart();
            zoom(now / pinch.apart, ...between(pinch.pane));
            pinch.apart = now;
            dragged = true;
            return;
        }
        if (!start) return;
        const far = Math.hypot(event.clientX - start.event.clientX, event.clientY - start.event.clientY);
        if (!dragged && far < DRAGGED) return;
        dragged = true;
        const [x, y] = inside(start.pane, event), [fromX, fromY] = inside(start.pane, start.event);
        if (start.slides) { state.at = clamp(100 * x, 0, 100); draw(); }
        else place(state.zoom, start.x + x - fromX, start.y + y - fromY);
    });
    const lift = (event) => {
        if (start && !dragged && start.slides && !event.target.closest?.('.box') && event.type === 'pointerup') {
            state.at = clamp(100 * inside(start.pane, event)[0], 0, 100);
            draw();
        }
        if (start && !dragged && state.view === 'blink' && !event.target.closest?.('.box')) blink();
        fingers.delete(event.pointerId);
        start = pinch = null;
    };
    document.addEventListener('pointerup', lift);
    document.addEventListener('pointercancel', lift);
    document.addEventListener('wheel', (event) => {
        const pane = event.target.closest?.('#compare-images .pane');
        if (!pane || (event.deltaY > 0 && state.zoom === 1)) return;  // nothing to leave: the page scrolls
        if (event.deltaY < 0 && !event.ctrlKey && document.documentElement.scrollTop > 0) return;
        event.preventDefault();
        zoom(Math.exp(-event.deltaY / 300), ...inside(pane, event));
    }, {passive: false});
    document.addEventListener('dblclick', (event) => {
        const pane = event.target.closest?.('#compare-images .pane');
        if (!pane || event.target.closest('.box')) return;
        if (state.zoom > 1) whole();
        else zoom(3, ...inside(pane, event));
    });

    // ---- keys ----

    const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

    const arrow = ([across, down], leap) => {
        if (state.view === 'slider' && across) {
            state.at = clamp(state.at + across * (leap ? LEAP : STEP), 0, 100);
            draw();
            return true;
        }
        if (state.zoom === 1) return false;
        place(state.zoom, state.x - across * 0.1, state.y - down * 0.1);
        return true;
    };

    const back = () => {
        if (state.zoom > 1) whole();
        else document.querySelector('#compare-stop:enabled')?.click();
    };

    const press = (event) => {
        const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
        if (ARROWS[name]) return arrow(ARROWS[name], event.shiftKey);
        if (name === 'b') blink();
        else if (name === 'd') view(state.view === 'heat' ? state.before : 'heat');
        else if (name === '+' || name === '=') zoom(1.5);
        else if (name === '-') zoom(1 / 1.5);
        else if (name === '0') whole();
        else if (name >= '1' && name <= '9' && name.length === 1) fly(name);
        else return false;
        return true;
    };

    document.addEventListener('keydown', (event) => {
        if (!seen() || event.isComposing || event.defaultPrevented) return;
        if (event.key === 'Escape') { back(); return; }
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        if (ARROWS[event.key] && event.target.closest?.('[role=tab]')) return;
        const field = event.target.closest?.('input, textarea, select, [contenteditable=true]');
        const slider = field?.id === 'compare-slider';
        if (field && !slider && field.type !== 'checkbox') return;
        if (slider && ARROWS[event.key] && !event.shiftKey) return;  // it moves by itself
        if (press(event)) event.preventDefault();
    });

    // ---- files: chosen, dropped anywhere or pasted ----

    const input = () => document.querySelector('#compare-right input[type=file]');
    const pick = () => input()?.click();
    const put = (files) => {
        const pictures = [...files], field = input();
        if (!pictures.length || !field) return;
        const data = new DataTransfer();
        for (const file of pictures) data.items.add(file);
        field.files = data.files;
        field.dispatchEvent(new Event('change', {bubbles: true}));
    };
    const elsewhere = (event) => {
        const here = event.target.closest?.('#compare-images');
        return here?.offsetParent && !event.target.closest('#compare-left, #compare-right');
    };
    document.addEventListener('dragover', (event) => {
        if (elsewhere(event) && event.dataTransfer?.types.includes('Files')) event.preventDefault();
    });
    document.addEventListener('drop', (event) => {
        if (!elsewhere(event) || !event.dataTransfer?.files.length) return;
        event.preventDefault();
        put(event.dataTransfer.files);
    });
    document.addEventListener('paste', (event) => {
        if (root()?.offsetParent && event.clipboardData?.files.length) put(event.clipboardData.files);
    });

    return {pick};
})();
