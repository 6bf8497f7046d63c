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
