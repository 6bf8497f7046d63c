"""Words of the small multiples and of models side by side: key -> (English, Simplified Chinese)."""

from collections.abc import Mapping

VERSUS: Mapping[str, tuple[str, str]] = {
    # ---- small multiples ----
    "section.grid": ("Many images", "多张图片"),
    "grid.intro": (
        "The same question about each image by itself, one after another; up to {count} images.",
        "对每张图片单独提同一个问题，逐张回答；最多 {count} 张图片。",
    ),
    "grid.files": ("Images: drop them here or click", "图片：拖到这里或点击选择"),
    "grid.question": ("Question about each image", "对每张图片的提问"),
    "grid.question.placeholder": (
        "For example: What is in this picture?",
        "例如：描述这张图片。",
    ),
    "grid.settings": ("Settings of the answers", "回答设置"),
    "grid.run": ("Ask about each image", "逐张提问"),
    "grid.go_on": ("Go on with the rest", "继续其余图片"),
    "grid.stop": ("Stop", "停止"),
    "grid.clear": ("Remove all", "全部移除"),
    "grid.csv": ("Save as a table (CSV)", "另存为表格（CSV）"),
    "grid.page": ("Save as a page (HTML)", "另存为网页（HTML）"),
    "grid.sort": ("Sort by", "排序"),
    "grid.largest": ("Largest first", "从大到小"),
    "grid.sort.number": ("order added", "添加顺序"),
    "grid.sort.name": ("name", "名称"),
    "grid.sort.length": ("length of the answer", "回答长度"),
    "grid.sort.pixels": ("size of the image", "图片尺寸"),
    "grid.sort.seconds": ("time", "时间"),
    "grid.sort.first_token": ("time to the first token", "首个词元时间"),
    "grid.sort.speed": ("tokens a second", "每秒词元"),
    "grid.sort.tokens_in": ("tokens in", "输入词元"),
    "grid.sort.image_tokens": ("tokens for images", "图片词元"),
    "grid.sort.tokens_out": ("tokens out", "输出词元"),
    "grid.reading": (
        "Opening {count} of {total} images …",
        "正在打开第 {count} 张，共 {total} 张 …",
    ),
    "grid.progress": ("Image {count} of {total}: {name}", "第 {count} 张，共 {total} 张：{name}"),
    "grid.stopped": (
        "Stopped after {count} of {total} images. What is answered stays.",
        "已停止：{total} 张中已回答 {count} 张，已有的回答保留。",
    ),
    "grid.done": (
        "{count} of {total} images answered.",
        "{total} 张图片中已回答 {count} 张。",
    ),
    "grid.waiting": ("not asked yet", "尚未提问"),
    "grid.remove": ("Remove {name}", "移除 {name}"),
    "grid.card": ("Image {number}: {name}", "图片 {number}：{name}"),
    # ---- both ----
    "offer.example": ("Or take an example:", "或用示例："),
    "offer.one": ("Use the picture of “Two images”", "使用“两张图片”中的图片"),
    "offer.several": (
        "Use the {count} pictures of “Two images”",
        "使用“两张图片”中的 {count} 张图片",
    ),
    # ---- models and settings ----
    "section.models": ("Models and settings", "模型与设置"),
    "versus.intro": (
        "The same images and question to two models, or to one model in two settings. A model is a "
        "name from the list, a hub id (OWNER/NAME) or a folder on this machine.",
        "把同样的图片和问题交给两个模型，或交给不同设置下的同一个模型。"
        "模型可以是列表中的名称、hub id（OWNER/NAME）或本机文件夹。",
    ),
    "versus.hosted": (
        "On this shared server the model stays the same; the two sides may differ in their "
        "settings.",
        "此共享服务器的模型固定不变，两边只能在设置上不同。",
    ),
    "versus.files": (
        "Images for both sides: drop them here or click",
        "两边共用的图片：拖到这里或点击选择",
    ),
    "versus.prompt": ("Question to both sides", "两边共同的提问"),
    "versus.prompt.placeholder": (
        "For example: Describe the image.",
        "例如：描述这张图片。",
    ),
    "versus.a": ("Side A", "A 方"),
    "versus.b": ("Side B", "B 方"),
    "versus.backend_a": ("Backend of side A", "A 方的后端"),
    "versus.backend_b": ("Backend of side B", "B 方的后端"),
    "versus.backend.info": (
        "Sides of different backends answer at the same time.",
        "后端不同时，两边同时回答。",
    ),
    "versus.model_a": ("Model of side A", "A 方的模型"),
    "versus.model_b": ("Model of side B", "B 方的模型"),
    "versus.loaded": ("What is loaded now", "当前加载的模型"),
    "versus.precision_a": ("Precision of side A", "A 方的精度"),
    "versus.precision_b": ("Precision of side B", "B 方的精度"),
    "versus.as_now": ("as now", "与当前相同"),
    "versus.settings_a": ("Settings of side A", "A 方的设置"),
    "versus.settings_b": ("Settings of side B", "B 方的设置"),
    "versus.unknown_knobs": (
        "What can be chosen about images is known once this model has been loaded.",
        "加载此模型后才能知道图片有哪些可选项。",
    ),
    "versus.blind": ("Blind: names hidden until the vote", "盲测：投票前隐藏名称"),
    "versus.back": (
        "At the end, bring back the model that is loaded now",
        "结束后恢复当前模型",
    ),
    "versus.back.info": (
        "One model fits at a time: the sides take turns, and everyone else's questions wait while "
        "a model is being loaded.",
        "同一时间只加载一个模型：两边轮流回答，加载期间其他提问会等待。",
    ),
    "versus.run": ("Compare", "开始比较"),
    "versus.stop": ("Stop", "停止"),
    "versus.remove": ("Remove image {name}", "移除图片 {name}"),
    "versus.images": ("Images of the comparison", "参与比较的图片"),
    "versus.frame.first": ("Answer 1", "回答 1"),
    "versus.frame.second": ("Answer 2", "回答 2"),
    "versus.hidden": ("name hidden until the vote", "投票前隐藏名称"),
    "versus.hidden_answer": (
        "Both answers appear together, so that nothing gives them away.",
        "两个回答会同时出现，以免泄露名称。",
    ),
    "versus.waiting": ("waits for the other side", "等待另一边"),
    "versus.not_asked": ("not asked", "未提问"),
    "versus.working": (
        "Working on answer {number} of 2 …",
        "正在准备第 {number} 个回答，共 2 个 …",
    ),
    "versus.working_both": ("Working on both answers …", "正在准备两个回答 …"),
    "versus.restoring": ("Bringing back {name} …", "正在恢复 {name} …"),
    "versus.done": ("Both sides have answered.", "两边都已回答。"),
    "versus.stopped": ("Stopped. What was answered stays.", "已停止，已有的回答保留。"),
    "versus.failed": (
        "One side could not answer; the other stays.",
        "有一边无法回答，另一边保留。",
    ),
    "versus.failed_both": ("Neither side could answer.", "两边都无法回答。"),
    "versus.is_back": ("{name} is loaded again.", "{name} 已重新加载。"),
    "versus.kept": ("{name} stays loaded.", "{name} 保持加载。"),
    "versus.same": ("The two answers are the same, word for word.", "两个回答一字不差。"),
    "versus.differ": (
        "Underlined: words that only one side says.",
        "下划线：只有一边说的词。",
    ),
    "versus.weights": ("weights {size}", "权重 {size}"),
    "why.weights": (
        "Memory that the weights of this model take. What else the program holds is the same for "
        "both sides.",
        "此模型的权重占用的内存。程序的其他占用对两边相同。",
    ),
    "why.load_time": (
        "How long this side's model took to load. Not part of the time of the answer.",
        "加载此方模型所用的时间，不计入回答时间。",
    ),
    "versus.load_time": ("loaded in {seconds:.1f} s", "加载 {seconds:.1f} 秒"),
    "versus.own": ("all settings the model's own", "全部使用模型默认设置"),
    "versus.vote": ("Which answer is better?", "哪个回答更好？"),
    "versus.vote.first": ("Answer 1", "回答 1"),
    "versus.vote.second": ("Answer 2", "回答 2"),
    "versus.vote.tie": ("Equally good", "一样好"),
    "versus.vote.both_bad": ("Both bad", "都不好"),
    "versus.voted": ("Your vote: {vote}.", "您的投票：{vote}。"),
    "versus.tally": ("Votes of this visit", "本次访问的投票"),
    "versus.tally.side": ("Model and settings", "模型与设置"),
    "versus.tally.better": ("better", "更好"),
    "versus.tally.worse": ("worse", "更差"),
    "versus.tally.ties": ("equal", "一样"),
    "versus.tally.both_bad": ("both bad", "都不好"),
    "versus.image_failed": ("This file is not used: {reason}", "此文件未使用：{reason}"),
    # ---- errors ----
    "error.multiples_too_many": (
        "{got} images; at most {limit} are taken here. Remove some, or use `python -m vlm "
        "describe` for a whole folder.",
        "共 {got} 张图片，这里最多 {limit} 张。请去掉一些，或用 `python -m vlm describe` "
        "处理整个文件夹。",
    ),
    "error.multiples_no_question": (
        "There is no question yet. Write what to ask about each image.",
        "还没有问题。请写下要对每张图片提的问题。",
    ),
    "error.multiples_no_image": (
        "There is no image to ask about. Add at least one picture.",
        "没有可提问的图片。请至少添加一张图片。",
    ),
    "error.multiples_nothing_left": (
        "Nothing is left to go on with. Ask about each image anew, or add more images.",
        "没有剩余的图片。请重新逐张提问，或添加更多图片。",
    ),
    "error.multiples_busy": (
        "The images are still being asked about. Stop first, or wait for the end.",
        "仍在逐张提问。请先停止，或等待结束。",
    ),
    "error.multiples_broke_off": (
        "The answer broke off without an end, so it was not kept. Go on to ask this image again.",
        "回答中途断开，未予保留。点击继续可重新提问这张图片。",
    ),
    "error.multiples_unexpected": (
        "Something went wrong with this image that is a fault of the program ({detail}). The "
        "others are not touched; go on to ask this one again.",
        "处理这张图片时程序出了差错（{detail}）。其他图片不受影响；点击继续可重新提问。",
    ),
    "error.versus_no_prompt": (
        "There is no question yet. Write what both sides are asked.",
        "还没有问题。请写下要问两边的问题。",
    ),
    "error.versus_no_image": (
        "There is no image yet. Add at least one picture for both sides.",
        "还没有图片。请至少添加一张两边共用的图片。",
    ),
    "error.versus_busy": (
        "A comparison is still running. Stop it first, or wait for its end.",
        "比较仍在进行。请先停止，或等待结束。",
    ),
    "error.versus_no_vote": (
        "There is nothing to vote on: a vote needs two whole answers of a blind comparison, once. "
        "Run another one.",
        "没有可投票的内容：投票需要一次盲测的两个完整回答，且只能投一次。请再比较一次。",
    ),
    "error.versus_broke_off": (
        "The answer broke off without an end, so it was not kept. Compare again.",
        "回答中途断开，未予保留。请重新比较。",
    ),
    "error.model_changed": (
        "Another model ({name}) was loaded here meanwhile, so this side was not asked. Compare "
        "again.",
        "期间有人在此加载了另一个模型（{name}），因此没有提问。请重新比较。",
    ),
    "error.panel_unexpected": (
        "Something went wrong that is a fault of the program ({detail}). Nothing was lost; try "
        "again.",
        "程序出了差错（{detail}）。内容没有丢失，请重试。",
    ),
}
