"""Words of the Chat tab: key -> (English, Simplified Chinese). See `vlm.strings`."""

from collections.abc import Mapping

CHAT: Mapping[str, tuple[str, str]] = {
    # ---- the settings drawer ----
    "settings.open": ("Settings", "设置"),
    "settings.close": ("Close settings", "关闭设置"),
    "settings.answer": ("The answer", "回答"),
    "settings.empty": (
        "An empty field leaves the choice to the model.",
        "留空则由模型决定。",
    ),
    "settings.presets": ("Options of this model", "此模型的选项组"),
    "answer_preset.beams": (
        "Fixed answer (3 beams, no chance)",
        "确定的回答（3 束搜索，不随机）",
    ),
    "settings.images": ("Images", "图片"),
    "settings.conversation": ("This conversation", "当前对话"),
    "settings.privacy": ("Your data", "您的数据"),
    "settings.keys": (
        "**Keys**: Enter sends, Shift+Enter starts a new line, Esc stops the answer, ↑ in an empty "
        "box edits the last question.",
        "**按键**：Enter 发送，Shift+Enter 换行，Esc 停止回答，输入框为空时按 ↑ 编辑上一个问题。",
    ),
    "option.default": ("default: {value}", "默认：{value}"),
    "option.default.unknown": ("default", "默认"),
    "option.tokens.info": ("in tokens", "以词元计"),
    "option.system_prompt.label": ("System prompt", "系统提示"),
    "option.system_prompt.placeholder": (
        "Said to the model before everything, for example: answer in one sentence",
        "最先告诉模型的话，例如：只用一句话回答",
    ),
    "option.temperature.label": ("Temperature", "温度"),
    "option.top_p.label": ("Top-p", "Top-p"),
    "option.top_k.label": ("Top-k", "Top-k"),
    "option.repetition_penalty.label": ("Repetition penalty", "重复惩罚"),
    "option.max_new_tokens.label": ("Longest answer", "最长回答"),
    "option.min_new_tokens.label": ("Shortest answer", "最短回答"),
    "option.num_beams.label": ("Beams", "束数"),
    "option.seed.label": ("Seed", "种子"),
    "option.kv_cache_bits.label": ("Memory of the context", "上下文的存储"),
    "option.kv_cache_bits.info": (
        "8 bit takes half as much and rounds what was read; earlier turns are read anew. There is "
        "no 4 bit here",
        "8 位占用减半，但会舍入已读内容，之前的对话需重新读取。此处不提供 4 位",
    ),
    "kv_cache.16": ("16 bit", "16 位"),
    "kv_cache.8": ("8 bit", "8 位"),
    "option.seed.random": ("new each time", "每次不同"),
    "option.stop.label": ("Stop texts", "停止文本"),
    "option.stop.info": (
        "the answer ends before any of them; one a line",
        "遇到任一文本前结束；每行一个",
    ),
    "knob.tiles": ("Most tiles of an image", "每张图片的最多分块"),
    "knob.pixels": ("Most pixels of an image", "每张图片的最多像素"),
    "knob.splitting": ("Cut large images into tiles", "把大图切成分块"),
    "knob.thumbnail": ("Add a small copy of the whole", "附加整图缩略图"),
    "knob.padding": ("Pad instead of stretching", "填充而不拉伸"),
    "knob.numbering": ("Number the images in the prompt", "在提示中给图片编号"),
    "knob.cropping": ("Only the middle, as in training", "只取中间部分（与训练时相同）"),
    "knob.on": ("on", "开"),
    "knob.off": ("off", "关"),
    "knob.none": (
        "This model looks at every image in the same way: nothing to choose.",
        "此模型以同样方式看待每张图片，没有可选项。",
    ),
    "chip.reset": ("Back to the model's own value: {name}", "恢复模型默认：{name}"),
    # ---- what is in the box ----
    "image.earlier": ("Move image {number} forward", "把图片 {number} 前移"),
    "image.later": ("Move image {number} back", "把图片 {number} 后移"),
    "image.remove": ("Remove image {number}", "移除图片 {number}"),
    "image.size": ("{width} × {height}", "{width} × {height}"),
    "image.sent": (
        "{width} × {height} → {to_width} × {to_height}",
        "{width} × {height} → {to_width} × {to_height}",
    ),
    "image.tiles": ("{count} tiles", "{count} 个分块"),
    "image.thumbnail": ("+ thumbnail", "+ 缩略图"),
    "image.tokens": ("{count} tokens", "{count} 词元"),
    "image.alpha.dropped": ("transparency dropped", "忽略透明"),
    "image.alpha.white": ("laid on white", "透明处填白"),
    "image.alpha.black": ("laid on black", "透明处填黑"),
    "image.attached": ("Attached images", "已添加的图片"),
    "preset.list": ("Prompts", "常用提示"),
    "button.camera": ("Camera", "拍照"),
    "camera.label": ("Take a picture", "拍一张照片"),
    "camera.denied": (
        "The browser does not let this page use the camera. Allow it in the browser's settings "
        "for this page, then press Camera again.",
        "浏览器不允许此页面使用摄像头。请在浏览器的网站设置中允许，然后再按“拍照”。",
    ),
    "camera.missing": (
        "No camera was found. Attach a photo instead.",
        "未找到可用的摄像头。请改为添加照片文件。",
    ),
    "camera.insecure": (
        "Browsers give the camera only to pages with https or on this very computer. Attach a "
        "photo instead.",
        "浏览器只允许 https 页面或本机页面使用摄像头。请改为添加照片文件。",
    ),
    "address.offer": ("Add the picture at {address}?", "要添加 {address} 处的图片吗？"),
    "address.add": ("Add it", "添加"),
    "address.fetching": ("Fetching {address} …", "正在获取 {address} …"),
    "address.leave": ("Leave it as text", "保留为文字"),
    # ---- turns ----
    "button.retry": ("Retry", "重试"),
    "button.undo": ("Undo", "撤销"),
    "button.edit": ("Edit", "编辑"),
    "button.continue": ("Continue", "继续"),
    "button.copy": ("Copy", "复制"),
    "button.copied": ("Copied", "已复制"),
    "turn.retry": ("Ask question {number} again", "重新回答问题 {number}"),
    "turn.edit": ("Edit question {number}", "编辑问题 {number}"),
    "turn.version": ("{number} of {count}", "{number} / {count}"),
    "turn.previous": ("Previous version of turn {number}", "第 {number} 轮的上一版本"),
    "turn.next": ("Next version of turn {number}", "第 {number} 轮的下一版本"),
    "turn.dropped": ("no longer sent to the model", "不再发送给模型"),
    "turn.editing": (
        "You are editing question {number}. Sending it starts another version; the old one stays.",
        "正在编辑问题 {number}。发送后会成为另一个版本，原来的仍然保留。",
    ),
    "turn.edit_end": ("Cancel editing", "取消编辑"),
    "answer.thoughts": ("Thoughts", "思考过程"),
    "answer.thinking": ("Thinking aloud …", "思考中 …"),
    "stats.reproduce": ("Reproduce this", "复现此回答"),
    "stats.reproduce.done": ("Command copied", "已复制命令"),
    "stats.reproduce.export": (
        "The command reads this conversation from its export: {name}",
        "此命令从导出的对话中读取：{name}",
    ),
    # ---- the context ----
    "context.nearly_full": (
        "Little room is left for the next answer.",
        "留给下一个回答的空间不多了。",
    ),
    "context.too_long": (
        "With the next message, turns 1 to {count} no longer fit.",
        "加上下一条消息，第 1 到 {count} 轮将放不下。",
    ),
    "context.too_long_one": (
        "With the next message, turn 1 no longer fits.",
        "加上下一条消息，第 1 轮将放不下。",
    ),
    "context.drop": ("Leave out turns 1 to {count}", "不再发送第 1 到 {count} 轮"),
    "context.drop_one": ("Leave out turn 1", "不再发送第 1 轮"),
    "context.anew": ("Start anew", "重新开始"),
    # ---- ways on from an error ----
    "way.send": ("Send again", "重新发送"),
    "way.retry": ("Try again", "再试一次"),
    "way.load": ("Load the model again", "重新加载模型"),
    "way.remove_broken": ("Remove what is no picture", "移除无法使用的文件"),
    "way.remove_extra": ("Keep the first {limit}", "只保留前 {limit} 张"),
    "way.settings": ("Open settings", "打开设置"),
    "way.bring_back": ("Bring back the conversation before", "恢复之前的对话"),
    "clear.done": ("A new conversation.", "已开始新对话。"),
    "way.dismiss": ("Dismiss", "关闭提示"),
    # ---- export, import, keeping ----
    "button.export": ("Export", "导出"),
    "button.export_page": ("Save as a page", "另存为网页"),
    "button.import": ("Open an export", "打开导出文件"),
    "button.forget": ("Clear my data", "清除我的数据"),
    "export.info": (
        "The export (.zip) holds words, images without metadata, settings and numbers, and can be "
        "opened again. The page (.html) is for reading.",
        "导出文件（.zip）含文字、去除元数据的图片、设置和统计数字，可再次打开。网页（.html）供阅读。",
    ),
    "export.nothing": ("There is nothing to export yet.", "还没有可导出的内容。"),
    "import.done": (
        "A conversation with {model} is open again (turns: {count}). Go on where it ended.",
        "已重新打开与 {model} 的对话（共 {count} 轮）。可以继续。",
    ),
    "keep.label": ("Keep conversations in this browser", "在此浏览器中保存对话"),
    "keep.info": (
        "Off: closing the tab forgets everything. On: they stay in this browser, on this device.",
        "关闭时，关闭标签页即忘记一切；开启时，对话留在这台设备的此浏览器中。",
    ),
    "keep.list": ("Kept conversations", "已保存的对话"),
    "keep.open": ("Open: {title}", "打开：{title}"),
    "keep.delete": ("Delete: {title}", "删除：{title}"),
    "keep.too_large": (
        "This conversation has {got}, too much to be kept here (at most {limit}). Export it.",
        "此对话有 {got}，超过可保存的上限 {limit}。请导出它。",
    ),
    "keep.failed": (
        "The browser could not keep this conversation ({reason}): it may be full, or not allow it. "
        "Export it instead.",
        "浏览器未能保存此对话（{reason}）：空间可能已满，或不允许保存。请改为导出。",
    ),
    "visit.gone": (
        "The program was started anew and knows nothing of this page. Copy what you need, then "
        "reload it.",
        "程序已重新启动，不再记得此页面。请复制需要的内容，然后重新加载页面。",
    ),
    "way.reload": ("Reload the page", "重新加载页面"),
    "forget.done": (
        "Everything of this visit is gone: conversation, pictures, settings, kept conversations.",
        "本次访问的一切都已清除：对话、图片、设置和保存的对话。",
    ),
}
