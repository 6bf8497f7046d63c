"""Words of the Models tab and of the list of models: key -> (English, Chinese)."""

from collections.abc import Mapping

MODELS: Mapping[str, tuple[str, str]] = {
    "tab.models": ("Models", "模型"),
    "models.now": ("Loaded now", "当前模型"),
    "models.none": ("No model is loaded yet.", "尚未加载模型。"),
    "models.away": (
        "{name} was put away. The next question brings it back.",
        "{name} 已卸载，下次提问时会自动加载。",
    ),
    "models.choose": ("Load another", "加载其他模型"),
    "models.hosted": (
        "On this server the model is chosen by its owner.",
        "此服务器的模型由其所有者选定。",
    ),
    "models.picker": ("Model", "模型"),
    "models.picker.info": (
        "A name from the list, a hub id (OWNER/NAME) or a folder on this machine",
        "列表中的名称、hub id（OWNER/NAME）或本机文件夹",
    ),
    "models.precision": ("Precision", "精度"),
    "models.precision.info": (
        "Fewer bits take less memory and change some answers",
        "位数越少占用内存越少，但部分回答会改变",
    ),
    "precision.auto": ("what fits", "自动选择"),
    "precision.none": ("16 bit", "16 位"),
    "precision.int8": ("8 bit", "8 位"),
    "precision.nf4": ("4 bit", "4 位"),
    "precision.fp4": ("4 bit (FP4)", "4 位（FP4）"),
    "models.dtype": ("Numbers", "数值格式"),
    "models.dtype.info": ("Of what is not quantised", "未量化部分"),
    "dtype.auto": ("what suits the device", "按设备选择"),
    "dtype.bfloat16": ("bfloat16", "bfloat16"),
    "dtype.float16": ("float16", "float16"),
    "dtype.float32": ("float32 (exact, twice as large)", "float32（精确，占用加倍）"),
    "models.find": ("Find in the list", "在列表中查找"),
    "models.find.example": ("name, family or hub id", "名称、系列或 hub id"),
    "models.find.none": (
        "Nothing in this list is like “{wanted}”. Other models can be loaded too: type a hub id or "
        "a folder under Model.",
        "此列表中没有与“{wanted}”相近的模型。也可在“模型”中输入 hub id 或文件夹，加载其他模型。",
    ),
    "models.load": ("Load", "加载"),
    "models.cancel": ("Cancel", "取消"),
    "models.unload": ("Unload", "卸载"),
    "models.check": ("Does it fit?", "能放下吗？"),
    "models.checking": ("reading what {name} consists of …", "正在读取 {name} 的结构 …"),
    "models.loading": ("Loading {name}", "正在加载 {name}"),
    "models.cancelled": ("Loading {name} was cancelled.", "已取消加载 {name}。"),
    "models.done": ("{name} is loaded.", "{name} 已加载。"),
    "models.kept": (
        "{name} is still loaded and answers as before.",
        "{name} 仍在，可继续提问。",
    ),
    "stage.waiting": ("waiting for answers that are being written", "等待正在生成的回答"),
    "stage.open": ("reading the configuration", "读取配置"),
    "stage.download": ("download", "下载"),
    "stage.weights": ("read and quantise", "读取与量化"),
    "stage.restoring": ("bringing the model before it back", "恢复之前的模型"),
    "stage.of_bytes": ("{current} of {total}", "{current} / {total}"),
    "stage.of_tensors": ("{current} of {total} tensors", "{current} / {total} 个张量"),
    "stage.stopping": ("stopping at the next step", "将在下一步停止"),
    "stage.left": ("about {seconds} left", "约剩 {seconds}"),
    "seconds": ("{count} s", "{count} 秒"),
    "minutes": ("{count} min", "{count} 分钟"),
    "module.vision_tower": ("vision tower", "视觉塔"),
    "module.vision_model": ("vision tower", "视觉塔"),
    "module.visual": ("vision tower", "视觉塔"),
    "module.multi_modal_projector": ("projector", "投影层"),
    "module.connector": ("connector", "连接层"),
    "module.language_model": ("language model", "语言模型"),
    "module.text_model": ("language model", "语言模型"),
    "module.lm_head": ("output head", "输出层"),
    "held.states": ("context kept for the next turn", "为下一轮保留的上下文"),
    "held.features": ("images kept for the next turn", "为下一轮保留的图像"),
    "held.runtime": ("program and libraries", "程序与运行库"),
    "held.work": ("being worked with", "正在使用"),
    "held.spare": ("held ready for the next answer", "为下一次回答预留"),
    "held.away": ("of it only in its files", "其中仅在文件中"),
    "held.total": ("in memory now", "目前占用"),
    "held.why.process": (
        "In memory now: what the system shows for this program, all in all.",
        "“目前占用”即系统显示的本程序内存总占用。",
    ),
    "held.why.device": (
        "In memory now: what this program has taken of the graphics card for its numbers; the "
        "card’s own tools show some hundred MB more, which are its driver’s.",
        "“目前占用”为本程序占用的显存；显卡工具显示的数值会多几百 MB，那是驱动所用。",
    ),
    "held.why.spread": (
        "In memory now: what the system shows for this program, and what it has taken of graphics "
        "cards.",
        "“目前占用”为系统显示的本程序内存占用，加上它占用的显存。",
    ),
    "held.why.away": (
        "Weights that lie only in their files are read again when they are needed.",
        "仅在文件中的权重会在需要时重新读入。",
    ),
    "held.forget": ("Drop what is kept", "清除保留的内容"),
    "held.forget.label": (
        "Drop what is kept: the next turn reads everything anew, which takes longer",
        "清除保留的内容：下一轮会重新读取全部内容，用时更长",
    ),
    "part.weights": ("weights", "权重"),
    "part.images": ("looking at images", "图像处理"),
    "part.context": ("context", "上下文"),
    "part.work": ("reading the prompt", "读取提示"),
    "part.loading": ("while loading", "加载时"),
    "part.runtime": ("libraries", "运行库"),
    "fits.of": ("{total} of {free} free", "{total}，可用 {free}"),
    "column.model": ("Model", "模型"),
    "column.good_at": ("Good at", "擅长"),
    "column.size": ("Size on disk", "磁盘占用"),
    "column.context": ("Context", "上下文"),
    "column.images": ("Images", "图像"),
    "column.languages": ("Languages", "语言"),
    "column.license": ("Licence", "许可"),
    "license.page": ("see its page on the hub", "见其 hub 页面"),
    "column.fit": ("On this machine, {precision}", "在本机，{precision}"),
    "images.several": ("several", "多张"),
    "languages.more": ("{first} and {count} more", "{first}，另有 {count} 种"),
    "table.rough": (
        "≈: worked out from the number of parameters; select the model and press “{check}” for all "
        "parts.",
        "≈：按参数量估算；选中模型并点击“{check}”可查看各部分。",
    ),
    "row.differs": (
        "In {precision} only {share:.0f} % of its words stay the same",
        "{precision}下只有 {share:.0f}% 的词保持不变",
    ),
    "row.agrees": (
        "In {precision} {share:.0f} % of its words stay the same",
        "{precision}下有 {share:.0f}% 的词保持不变",
    ),
    "table.unmeasured": (
        "Where a row does not say how many words stay the same in fewer bits, nobody has measured "
        "it: python -m vlm compare-precision NAME does.",
        "若某行没有说明低位数下有多少词保持不变，则尚未测量：可运行 python -m vlm "
        "compare-precision NAME 测量。",
    ),
    "row.load": ("Load", "加载"),
    "row.load.label": ("Load {name} in {precision}", "以 {precision} 加载 {name}"),
    "row.kept": ("on this machine", "已在本机"),
    "row.here": ("loaded in {precision}", "已加载（{precision}）"),
    "row.load.other": ("Load in {precision}", "改用 {precision} 加载"),
    "memory.looking": ("Working out what would fit …", "正在计算可行的设置 …"),
    "memory.nothing": (
        "Nothing smaller fits into {free} either. Close other programs, or start anew.",
        "更小的设置也放不进 {free}。请关闭其他程序，或重新开始。",
    ),
    "memory.takes": ("Takes about {total} of {free}", "约需 {total}，共 {free}"),
    "memory.kv_cache": ("Send again with the context in 8 bit", "以 8 位保存上下文并重新发送"),
    "memory.tiles": (
        "Send again with at most {value} tiles an image",
        "每张图片最多 {value} 块，重新发送",
    ),
    "memory.pixels": (
        "Send again with at most {value} pixels an image",
        "每张图片最多 {value} 像素，重新发送",
    ),
    "memory.answer": (
        "Send again, answer of at most {value} tokens",
        "回答最多 {value} 词元，重新发送",
    ),
    "memory.turns": (
        "Leave out turns 1 to {count} and send again",
        "不再发送第 1 到 {count} 轮，重新发送",
    ),
    "memory.turn": ("Leave out turn 1 and send again", "不再发送第 1 轮，重新发送"),
    "memory.precision": ("Load it in {precision} and send again", "改用 {precision}加载并重新发送"),
    "memory.everything": (
        "Send again as small as it goes, in {precision}",
        "以最小的设置重新发送（{precision}）",
    ),
    "memory.model": ("Load {name} and send again", "加载 {name} 并重新发送"),
    "way.load_four_bits": ("Load it in 4 bit", "改用 4 位加载"),
    "way.load_eight_bits": ("Load it in 8 bit", "改用 8 位加载"),
    "way.load_smaller": ("Load {name} instead", "改为加载 {name}"),
    "way.fetch_smaller": (
        "Load {name} instead (≈ {size} to download)",
        "改为加载 {name}（约需下载 {size}）",
    ),
    "way.load_as_stored": ("Load it as it is", "按原样加载"),
    "way.hub_page": ("Open the page of {name}", "打开 {name} 的页面"),
    "way.go_on": ("Go on with {name}", "继续使用 {name}"),
    "way.try_again": ("Try again", "重试"),
    "model.pocket.good_at": (
        "Ships with the program. One sentence about an everyday photo, on any computer; reads no "
        "text, counts poorly.",
        "随程序附带。在任何电脑上用一句英文描述日常照片；不能识别文字，不擅长计数。",
    ),
    "model.paligemma.good_at_224": (
        "Short captions, questions about a picture, boxes (detect cat) and masks (segment cat). "
        "One question at a time, no conversation.",
        "简短描述、看图问答、检测框（detect cat）和分割（segment cat）。一次一问，不能连续对话。",
    ),
    "model.paligemma.good_at_448": (
        "As at 224, but sees four times as much of a picture: small things and text. Slower.",
        "与 224 版相同，但看到的细节多四倍，适合小物体和文字。速度较慢。",
    ),
    "model.internvl15.good_at_26b": (
        "Documents, charts, screens and photos in English and Chinese, in fine detail. Needs a "
        "large graphics card.",
        "擅长中英文文档、图表、界面截图和照片，能看清细节。需要大显存显卡。",
    ),
    "model.internvl15.good_at_4b": (
        "Documents, charts and photos in fine detail, on one graphics card; best in English.",
        "擅长文档、图表和照片的细节，一张显卡即可运行；英文最佳。",
    ),
    "model.internvl15.good_at_2b": (
        "Text in pictures and photos, in English and Chinese; runs on a laptop.",
        "擅长图中文字和照片，支持中英文；笔记本电脑即可运行。",
    ),
    "model.minicpm_v26.good_at": (
        "Documents, screens and photos in fine detail, several photos at once, in English, Chinese "
        "and other languages, on one graphics card.",
        "擅长文档、界面截图和照片的细节，可同时看多张图，支持中文、英文等语言，一张显卡即可运行。",
    ),
    "model.minimind_v.good_at_mid": (
        "Short descriptions in Chinese by a very small model; two pictures at most.",
        "极小的模型，用中文简短描述图片；最多两张图片。",
    ),
    "model.minimind_v.good_at_head": (
        "Descriptions and simple questions, best in Chinese, by a very small model.",
        "极小的模型，适合描述图片和简单提问，中文最佳。",
    ),
    "model.minimind_v.good_at_moe": (
        "As minimind-3v, with four experts in each layer: knows a little more.",
        "与 minimind-3v 相同，但每层有四个专家，知道得略多一些。",
    ),
    "model.smolvlm2.good_at_small": (
        "Very small: short answers in English about a photo, on any computer; often wrong about "
        "details and longer text.",
        "体积很小，任何电脑都能运行：用英文简短回答关于照片的问题；细节和较长的文字常常出错。",
    ),
    "model.smolvlm2.good_at_2b": (
        "Photos, simple documents and several pictures at once, in English; runs on a laptop.",
        "适合照片、简单的文档和多图提问，只擅长英文；笔记本电脑即可运行。",
    ),
    "model.qwen2_5_vl.good_at_3b": (
        "Documents, charts and photos in many languages; can say where things are. Not for "
        "commercial use.",
        "擅长多种语言的文档、图表和照片，能指出物体的位置。不可商用。",
    ),
    "model.qwen2_5_vl.good_at_7b": (
        "Documents, charts, screens and photos in many languages; can say where things are.",
        "擅长多种语言的文档、图表、界面截图和照片，能指出物体的位置。",
    ),
    "model.qwen3_vl.good_at_small": (
        "Text in pictures, documents and photos in many languages, in long conversations too; "
        "small for what it can do.",
        "能识别多种语言的图中文字，理解文档和照片，也适合长对话；以这样的体积而言能力不错。",
    ),
    "model.qwen3_vl.good_at_8b": (
        "Demanding questions about documents, charts, screens and photos in many languages, in "
        "long conversations too.",
        "适合对多种语言的文档、图表、界面截图和照片提出较难的问题，也适合长对话。",
    ),
    "model.qwen3_5.good_at": (
        "Photos, documents and screens in many languages; can think before it answers, which "
        "takes time.",
        "适合多种语言的照片、文档和界面截图；可以先思考再回答，但会多花时间。",
    ),
    "model.internvl3.good_at_small": (
        "Documents, charts and photos in fine detail, in English and Chinese; runs on a small "
        "graphics card.",
        "能看清文档、图表和照片的细节，支持中英文；小显存显卡即可运行。",
    ),
    "model.internvl3.good_at_8b": (
        "Documents, charts and several photos at once in fine detail, in English and Chinese.",
        "能看清文档、图表和多张照片的细节，支持中英文。",
    ),
    "model.gemma3.good_at": (
        "Talks about photos in many languages and writes well; sees each picture at 896 by 896 "
        "pixels, so small print is lost.",
        "能用多种语言谈论照片，文笔好；每张图片都缩到 896×896 像素，小字会看不清。",
    ),
    "model.gemma4.good_at_e2b": (
        "Photos and everyday questions in many languages; small print in pictures is easily lost.",
        "能用多种语言谈论照片和日常问题；图中的小字容易看不清。",
    ),
    "model.gemma4.good_at_e4b": (
        "Photos, charts and longer answers in many languages; small print in pictures is easily "
        "lost.",
        "能用多种语言谈论照片和图表，回答较长；图中的小字容易看不清。",
    ),
    "model.minicpm_v4_6.good_at": (
        "Small; cuts large pictures into slices, so it reads screens and documents well for its "
        "size, in English and Chinese.",
        "小模型；大图会切片，在同等大小中擅长看截图和文档，支持中英文。",
    ),
    "model.llava_onevision.good_at_small": (
        "A small model for photos and short questions, in English and Chinese; details are often "
        "wrong.",
        "小模型，适合对照片提简短的问题，支持中英文；细节常有错误。",
    ),
    "model.llava_onevision.good_at_7b": (
        "Photos, charts and comparing several pictures, in English and Chinese.",
        "擅长照片、图表和多图比较，支持中英文。",
    ),
    "model.glm4v.good_at": (
        "Thinks before every answer: slow, but good at sums, charts and puzzles in pictures, in "
        "English and Chinese.",
        "每次都先思考再回答，速度慢，但擅长图中的计算、图表和推理题，支持中英文。",
    ),
}
