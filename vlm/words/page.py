"""Words of the web page: key -> (English, Simplified Chinese). See `vlm.strings`."""

from collections.abc import Mapping

PAGE: Mapping[str, tuple[str, str]] = {
    "app.private": (
        "Runs on this machine. Your pictures and words stay here.",
        "在本机运行。图片和文字都留在这台机器上。",
    ),
    "app.hosted": (
        "Runs on a shared server: do not upload what nobody else may see.",
        "在共享服务器上运行：请勿上传不愿他人看到的内容。",
    ),
    "app.language": ("Language · 语言", "Language · 语言"),
    "app.theme": ("Light / dark", "浅色 / 深色"),
    "tab.chat": ("Chat", "对话"),
    "tab.compare": ("Compare", "比较"),
    "model.loading": ("Loading {name} …", "正在加载 {name} …"),
    "model.failed": ("{name} could not be loaded", "{name} 加载失败"),
    "chat.label": ("Conversation", "对话内容"),
    "chat.empty": ("Drop a photo, then ask about it", "放入一张照片，然后提问"),
    "box.label": ("Message", "消息"),
    "box.placeholder": (
        "Ask about your photos: drop, paste or attach them here",
        "就照片提问：拖入、粘贴或添加图片",
    ),
    "button.stop": ("Stop", "停止"),
    "button.clear": ("Clear", "清空"),
    "example.astronaut": ("Describe the image.", "描述这张图片。"),
    "example.cat": (
        "What animal is this? Answer with a word or short phrase.",
        "这是什么动物？",
    ),
    "example.coffee": ("What is in this picture?", "描述这张图片。"),
    "example.photographer": ("Describe the image.", "描述这张图片。"),
    "answer.stopped": ("stopped", "已停止"),
    "answer.length": ("stopped at the length limit", "达到长度上限"),
    "answer.empty": ("The model ended without a word.", "模型没有给出任何文字就结束了。"),
    "progress.loading": ("loading the model …", "正在加载模型 …"),
    "progress.queued": ("waiting, {current} ahead …", "排队中，前面还有 {current} 个 …"),
    "progress.reading": (
        "reading image {current} of {total} …",
        "正在读取第 {current} 张图片，共 {total} 张 …",
    ),
    "progress.looking": (
        "looking where it looked, {current} of {total} …",
        "正在查看模型看了哪里，{current}/{total} …",
    ),
    "progress.tracing": (
        "running the model, {current} of {total} stages …",
        "模型运行中，已到第 {current} 个阶段，共 {total} 个 …",
    ),
    "progress.thinking": ("thinking …", "思考中 …"),
    "stats.of_which": ("{whole} ({parts})", "{whole}（{parts}）"),
    "figure.queue": ("waited {value} s", "排队 {value} 秒"),
    "figure.first_token": ("first token {value} s", "首个词元 {value} 秒"),
    "figure.encode": ("images read in {value} s", "读图 {value} 秒"),
    "figure.prefill": ("prompt at {value} tokens/s", "读入 {value} 词元/秒"),
    "figure.decode": ("{value} tokens/s", "{value} 词元/秒"),
    "figure.tokens_in": ("{value} tokens in", "输入 {value} 词元"),
    "figure.cached": ("{value} reused", "沿用 {value} 词元"),
    "figure.images": ("{value} for images", "图片占 {value} 词元"),
    "figure.tokens_out": ("{value} out", "输出 {value}"),
    "figure.memory": ("{value} memory", "内存 {value}"),
    "figure.total": ("{value} s", "共 {value} 秒"),
    "figure.seed": ("seed {value}", "种子 {value}"),
    "why.queue": (
        "How long the question waited for other answers to end. Not part of the total time.",
        "提问等待其他回答结束的时间，不计入总时间。",
    ),
    "why.first_token": (
        "Time from the start of the work until the first piece of the answer was there.",
        "从开始处理到出现回答的第一个片段所用的时间。",
    ),
    "why.encode": (
        "Time it took to turn the images into what the language model reads.",
        "把图片转换成语言模型可读内容所用的时间。",
    ),
    "why.prefill": (
        "How fast the prompt was read: the tokens that were new in it, each second.",
        "读入提示的速度：每秒处理多少个新词元。",
    ),
    "why.decode": (
        "How fast the answer was written once it had begun. About 5 tokens a second keep up with "
        "a reader.",
        "回答开始后的生成速度。每秒约 5 个词元即可跟上阅读。",
    ),
    "why.tokens_in": (
        "Length of the prompt: question, images and what was said before. A token is a piece of "
        "text or image, often shorter than a word.",
        "提示的长度，包括问题、图片和之前的对话。词元是文字或图片的小片段，往往不足一个词。",
    ),
    "why.cached": (
        "Tokens of the prompt still in memory from an earlier answer. They did not have to be "
        "read again, which saves time.",
        "提示中仍留在内存里的词元，来自之前的回答，无需重新读入，可以节省时间。",
    ),
    "why.images": (
        "Tokens of the prompt that stand for images. More detail takes more of them.",
        "提示中代表图片的词元。图片越精细，占用越多。",
    ),
    "why.tokens_out": (
        "Length of the answer in tokens.",
        "回答的长度，以词元计。",
    ),
    "why.memory": (
        "The most memory in use during the answer: of the graphics card, or of the whole program "
        "where there is none.",
        "回答期间内存占用的最高值：有显卡时指显存，没有时指整个程序的内存。",
    ),
    "why.total": (
        "Time from the start of the work to the end of the answer.",
        "从开始处理到回答结束的总时间。",
    ),
    "why.seed": (
        "Where chance began. The same question, options and seed give the same answer on the "
        "same machine.",
        "随机数的起点。在同一台机器上，相同的问题、选项和种子得到相同的回答。",
    ),
    "context.used": ("{used} of {limit} tokens", "{used} / {limit} 词元"),
    "context.used_of_unknown": ("{used} tokens", "{used} 词元"),
    "preset.caption": ("Caption", "一句话概括"),
    "preset.caption.prompt": (
        "Write a one-sentence caption for this image: who or what it shows, what is happening, "
        "and where.",
        "用一句话概括这张图片：有谁或什么，正在发生什么，在哪里。",
    ),
    "preset.alt_text": ("Alt text", "替代文本"),
    "preset.alt_text.prompt": (
        "Write alt text for this image: one plain sentence of at most 125 characters that says "
        'what matters most. Do not begin with "image of" or "picture of".',
        "为这张图片写替代文本：一句平实的话，不超过 60 个字，说出最重要的内容。"
        "不要以“图片”或“照片”开头。",
    ),
    "preset.read_text": ("Read the text", "识别文字"),
    "preset.read_text.prompt": (
        "Write out all the text in this image word for word. Keep its language, spelling and line "
        "breaks. Write [illegible] for what you cannot read. If there is no text, say so.",
        "逐字写出这张图片中的所有文字，保留原来的语言、写法和换行。"
        "看不清的地方写“[无法辨认]”。如果没有文字，请说明。",
    ),
    "preset.describe": ("Describe fully", "详细描述"),
    "preset.describe.prompt": (
        "Describe this image for someone who cannot see it. Begin with the whole scene in one "
        "sentence. Then go from front to back: what is where, the people and what they do, any "
        "text, the light and the mood. Say only what can be seen; do not guess.",
        "为看不见这张图片的人描述它。先用一句话说出整体场景，再由近及远：什么东西在哪里，"
        "有哪些人、在做什么，有什么文字，光线和气氛如何。只说看得到的，不要猜测。",
    ),
    "preset.table": ("Make a table", "转成表格"),
    "preset.table.prompt": (
        "Turn the table or chart in this image into a Markdown table. Keep its headings, every "
        "row and every number as they are; leave a cell empty if you cannot read it. Answer with "
        "the table only. If there is none, say so.",
        "把这张图片中的表格或图表转成 Markdown 表格。标题、每一行和每个数字都照原样保留，"
        "看不清的单元格留空。只输出表格；如果没有表格，请说明。",
    ),
    "preset.find": ("Find objects", "查找物体"),
    "preset.find.prompt": (
        "List the objects in this image, the most noticeable first, one per line: name, how many, "
        "and where in the image. Name each kind of object only once.",
        "列出这张图片中的物体，最显眼的在前，每行一种：名称、数量、在图中的位置。"
        "同一种物体只列一次。",
    ),
    "preset.compare": ("Compare two", "比较两图"),
    "preset.compare.prompt": (
        "Compare the first image with the second. Say what is the same. Then list what differs, "
        "one difference per line: how it is in the first image, how it is in the second. If "
        "nothing differs, say so.",
        "比较第一张和第二张图片。先说相同之处，再逐行列出不同之处：第一张中如何，第二张中如何。"
        "如果没有不同，请说明。",
    ),
    "transcript.title": ("Conversation with {model}", "与 {model} 的对话"),
    "transcript.system_prompt": ("System prompt", "系统提示"),
    "transcript.question": ("Question", "提问"),
    "transcript.dropped": ("no longer sent to the model", "已不再发送给模型"),
    "transcript.empty": ("Nothing was said yet.", "还没有任何对话。"),
}
