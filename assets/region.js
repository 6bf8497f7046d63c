// Inspect: a region marked on the photo by mouse, touch or keys. The server cuts it out.

window.diptych.region = (() => {
    const STEP = 0.02, LEAST = 0.01;
    const START = [0.25, 0.25, 0.75, 0.75];  // left, top, right, bottom in shares of the photo
    let picture = null, frame = null, tools = null, box = START;
    let asked = false;

    const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
    const percent = (value) => Math.round(100 * value);
    const part = (selector) => tools.querySelector(selector);
    const asking = () => part('[data-act=ask_region]');

    const draw = () => {
        const [left, top, right, bottom] = box;
        frame.style.inset = [top, 1 - right, 1 - bottom, left].map((at) => `${100 * at}%`).join(' ');
        frame.setAttribute('aria-label', tools.dataset.frame
            .replace('{l}', percent(left)).replace('{t}', percent(top))
            .replace('{w}', percent(right - left)).replace('{h}', percent(bottom - top)));
        asking().dataset.box = box.map((at) => at.toFixed(5)).join(' ');
    };

    const toggle = (marking) => {
        picture.classList.toggle('marking', marking);
        part('[data-region=mark]').hidden = marking;
        for (const each of [asking(), part('[data-region=end]'), part('.how')]) each.hidden = !marking;
    };

    const begin = (button) => {
        end();  // of another photo
        tools = button.closest('.cutting');
        picture = tools.closest('.seen').querySelector('.picture');
        frame = document.createElement('div');
        frame.className = 'cutframe';
        frame.tabIndex = 0;
        frame.setAttribute('role', 'application');
        picture.append(frame);
        box = START;
        toggle(true);
        draw();
        frame.focus();
    };

    const end = () => {
        if (!frame) return;
        frame.remove();
        frame = null;
        toggle(false);
        part('[data-region=mark]').focus();
    };

    // The server draws the photo anew when another is chosen: then nothing is marked.
    const marking = () => frame !== null && frame.isConnected;

    document.addEventListener('click', (event) => {
        const button = event.target.closest('#inspect [data-region]');
        if (button?.dataset.region === 'mark') begin(button);
        else if (button) end();
        if (event.target.closest('#inspect [data-act=ask_region]')) asked = true;
    }, true);

    document.addEventListener('pointerdown', (event) => {
        if (!marking() || event.button !== 0 || !picture.contains(event.target)) return;
        event.preventDefault();
        const bounds = picture.getBoundingClientRect(), before = box;
        const at = (moved) => [clamp((moved.clientX - bounds.left) / bounds.width, 0, 1),
            clamp((moved.clientY - bounds.top) / bounds.height, 0, 1)];
        const from = at(event);
        picture.setPointerCapture(event.pointerId);
        const move = (moved) => {
            const to = at(moved);
            box = [Math.min(from[0], to[0]), Math.min(from[1], to[1]),
                Math.max(from[0], to[0]), Math.max(from[1], to[1])];
            draw();
        };
        const drop = () => {
            picture.removeEventListener('pointermove', move);
            for (const name of ['pointerup', 'pointercancel'])
                picture.removeEventListener(name, drop);
            if (box[2] - box[0] < LEAST && box[3] - box[1] < LEAST) box = before;  // a mere press
            if (marking()) { draw(); frame.focus(); }
        };
        picture.addEventListener('pointermove', move);
        for (const name of ['pointerup', 'pointercancel']) picture.addEventListener(name, drop);
    });

    const ARROWS = {
        ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP],
    };
    document.addEventListener('keydown', (event) => {
        if (!marking()) return;
        if (event.key === 'Escape') {
            event.preventDefault();
            end();
        } else if (event.target === frame && event.key === 'Enter') {
            event.preventDefault();
            asking().click();
        } else if (event.target === frame && event.key in ARROWS) {
            event.preventDefault();
            const [x, y] = ARROWS[event.key];
            let [left, top, right, bottom] = box;
            if (event.shiftKey) {
                right = clamp(right + x, left + LEAST, 1);
                bottom = clamp(bottom + y, top + LEAST, 1);
            } else {
                const across = clamp(x, -left, 1 - right), down = clamp(y, -top, 1 - bottom);
                [left, right, top, bottom] = [left + across, right + across, top + down, bottom + down];
            }
            box = [left, top, right, bottom];
            draw();
        }
    }, true);

    // The server has cut it, or has said in `notice` why not.
    let arriving = false;
    const sent = (notice) => {
        if (!asked) return;
        asked = false;
        if (notice) return;
        end();
        arriving = true;
        window.diptych.goTo('chat');
    };

    // The images are in the box.
    const arrived = () => {
        if (arriving) document.querySelector('#message textarea')?.focus();
        arriving = false;
    };

    return {sent, arrived};
})();
