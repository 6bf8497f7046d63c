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
    "tab.chat": ("Chat", "对话"),
    "model.loading": ("Loading {name} …", "正在加载 {name} …"),
    "model.failed": ("{name} could not be loaded", "{name} 加载失败"),
    "model.pocket.good_at": (
        "Ships with the program. One sentence about an everyday photo, on any computer; reads no "
        "text, counts poorly.",
        "随程序附带。在任何电脑上用一句英文描述日常照片；不能识别文字，不擅长计数。",
    ),
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
    "progress.thinking": ("thinking …", "思考中 …"),
    "stats.line": (
        "first token {first_token} s · {speed} tokens/s · {prompt} tokens in "
        "({image} for images) · {answer} out · {memory} memory · {total} s",
        "首个词元 {first_token} 秒 · {speed} 词元/秒 · 输入 {prompt} 词元"
        "（其中图片 {image}）· 输出 {answer} · 内存 {memory} · 共 {total} 秒",
    ),
}
