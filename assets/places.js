// Chat: a phrase of an answer and its boxes and points light up together. What a tap or Enter takes
// stays lit until another is taken, or Escape.

(() => {
    const KEY = /^place-(\d+|now)-\d+$/;
    const holder = (element) => element?.closest?.('#chat :is(.phrase, .place, .numeral)') ?? null;
    const keys = (element) => [...(element?.classList ?? [])].filter((name) => KEY.test(name));
    const all = () => document.querySelectorAll('#chat :is(.phrase, .place, .numeral)');
    let taken = [];

    // What is pointed at comes first, then what has the focus, then what was taken.
    const light = (pointed) => {
        const wanted = new Set([pointed, keys(holder(document.activeElement)), taken]
            .find((names) => names.length) ?? []);
        const lit = [...all()].filter((each) => keys(each).some((name) => wanted.has(name)));
        for (const each of document.querySelectorAll('#chat .lit'))
            if (!lit.includes(each)) each.classList.remove('lit');
        for (const each of lit) each.classList.add('lit');
        for (const figure of document.querySelectorAll('#chat figure.places'))
            figure.classList.toggle('chosen', figure.querySelector('.place.lit') !== null);
        for (const each of all())
            if (!each.matches('.numeral'))
                each.setAttribute('aria-pressed', String(keys(each).some((key) => taken.includes(key))));
    };

    document.addEventListener('pointerover', (event) => {
        if (event.pointerType === 'mouse') light(keys(holder(event.target)));
    });
    document.addEventListener('focusin', () => light([]));
    document.addEventListener('focusout', () => requestAnimationFrame(() => light([])));

    const take = (element) => {
        const names = keys(element);
        const same = names.length > 0 && names.every((name) => taken.includes(name));
        taken = same ? [] : names;
        if (same) element.blur();
        light([]);
        // On a phone the picture may be out of sight; a box may be below its phrase.
        const lit = document.querySelector(element.matches('.phrase')
            ? '#chat figure.places:has(.place.lit)' : '#chat .phrase.lit');
        if (!same) lit?.scrollIntoView({block: 'nearest'});
    };

    document.addEventListener('click', (event) => {
        const element = holder(event.target);
        if (element) take(element);
        else if (taken.length) { taken = []; light([]); }
    });

    // Before the page's own Escape, which ends an answer.
    document.addEventListener('keydown', (event) => {
        const element = holder(event.target);
        if (event.key === 'Escape' && (taken.length || element)) {
            taken = [];
            if (element) element.blur();
            light([]);
            event.preventDefault();
        } else if (element?.matches('.place') && (event.key === 'Enter' || event.key === ' ')) {
            event.preventDefault();  // no button by nature
            take(element);
        }
    }, true);
})();
