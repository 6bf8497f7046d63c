"""Words of the command line: key -> (English, Simplified Chinese). See `vlm.strings`."""

from collections.abc import Mapping

TERMINAL: Mapping[str, tuple[str, str]] = {
    "cli.vlm": (
        "Talk with vision-language models on your own machine.",
        "在自己的机器上与视觉语言模型对话。",
    ),
    "cli.app": ("Serve the Diptych web page.", "启动 Diptych 网页。"),
    "cli.chat": ("ask about images in the terminal", "在终端里就图片提问"),
    "cli.describe": ("ask about every image of a folder", "就文件夹中的每张图片提问"),
    "cli.embed": ("write embeddings of images to a file", "把图片的嵌入写入文件"),
    "cli.trace": (
        "show every stage from pixels to logits in numbers",
        "用数字显示从像素到 logits 的每个阶段",
    ),
    "cli.explain": (
        "show where the model looked, and how sure it was",
        "显示模型为回答看了哪里，以及它的把握",
    ),
    "cli.compare": ("show what differs between two images", "显示两张图片的不同之处"),
    "cli.models": ("list the models that can be loaded", "列出可以加载的模型"),
    "cli.info": ("say what a checkpoint holds", "说明一个检查点的内容"),
    "cli.fit": (
        "estimate what fits into memory, before anything is loaded",
        "在加载之前估计内存能容纳什么",
    ),
    "cli.quantize": ("write a checkpoint in 8 or 4 bits", "把检查点以 8 位或 4 位写出"),
    "cli.compare-precision": (
        "say how much of its answers fewer bits change",
        "说明降低位数会使回答改变多少",
    ),
    "flag.destination": ("the folder to make", "要创建的文件夹"),
    "flag.nf4": ("4 bits, spaced for weights (NF4)", "4 位，按权重分布取值（NF4）"),
    "flag.fp4": ("4 bits, floating point (FP4)", "4 位浮点（FP4）"),
    "flag.int8": ("8 bits", "8 位"),
    "flag.between": (
        "the precision whose answers count, then those held against it",
        "先给作为基准的精度，再给要比较的精度",
    ),
    "flag.context": ("tokens of prompt and answer together", "提示与回答的词元总数"),
    "flag.fit_images": ("how many images, each as large as they get", "图片数量，按最大尺寸计"),
    "flag.check": ("measure the estimates against real runs", "用实际运行检验估计值"),
    "fit.head": (
        "| checkpoint | precision | weights (GB) | images | context | work | total | free | |",
        "| 检查点 | 精度 | 权重（GB） | 图片 | 上下文 | 运算 | 合计 | 可用 | |",
    ),
    "fit.fits": ("fits", "可以容纳"),
    "fit.tight": ("tight", "勉强"),
    "fit.too_big": ("too big", "放不下"),
    "fit.as_asked": (
        "Fits in {precision} as asked: {context} tokens of context, images: {images}{fewer}; "
        "{total:.2f} GB at the most.",
        "以 {precision} 可按要求容纳：上下文 {context} 个词元、{images} 张图片{fewer}；"
        "最多 {total:.2f} GB。",
    ),
    "fit.smaller": (
        "The largest that fits: {precision}, {context} tokens of context, images: {images}{fewer}; "
        "{total:.2f} GB at the most.",
        "能容纳的最大设置：{precision}、上下文 {context} 个词元、{images} 张图片{fewer}；"
        "最多 {total:.2f} GB。",
    ),
    "fit.nothing": (
        "Nothing fits into {free:.2f} GB. Close other programs, or choose a smaller model.",
        "{free:.2f} GB 内无法容纳。请关闭其他程序，或选择更小的模型。",
    ),
    "check.head": (
        "| checkpoint | precision | weights measured (MB) | estimated | off | peak measured (MB) "
        "| estimated | off |",
        "| 检查点 | 精度 | 实测权重（MB） | 估计 | 偏差 | 实测峰值（MB） | 估计 | 偏差 |",
    ),
    "quantize.done": (
        "{folder}: {kind}, {size:.2f} GB; load it with --model {folder}",
        "{folder}：{kind}，{size:.2f} GB；用 --model {folder} 加载",
    ),
    "precision.head": (
        "| precisions | tokens | same likeliest token | mean KL (nats) | largest KL | weights |",
        "| 精度 | 词元 | 最可能词元相同 | 平均 KL（nat） | 最大 KL | 权重 |",
    ),
    "warning.precision": (
        "In {other} only {top_1:.1%} of the likeliest tokens are the same (below {limit:.0%}): "
        "expect other answers. Take more bits where they fit.",
        "以 {other} 加载时，相同词元仅 {top_1:.1%}（低于 {limit:.0%}），回答会不同。"
        "若内存允许，请用更多位数。",
    ),
    "load.download": (
        "downloading {done:.2f} of {total:.2f} GB …",
        "正在下载 {done:.2f} / {total:.2f} GB …",
    ),
    "load.open": ("reading the configuration …", "正在读取配置 …"),
    "load.weights": ("loading weights: {part:.0%} …", "正在加载权重：{part:.0%} …"),
    "load.save": ("writing weights: {part:.0%} …", "正在写出权重：{part:.0%} …"),
    "cli.bench": ("measure start, speed and memory", "测量启动时间、速度和内存"),
    "cli.served": ("Diptych is at {address}", "Diptych 已启动：{address}"),
    "cli.ready": ("{model} is ready", "{model} 已就绪"),
    "cli.talk": (
        "Ask away. Ctrl-C stops an answer, Ctrl-D ends.",
        "请提问。Ctrl-C 停止回答，Ctrl-D 结束。",
    ),
    "cli.any_model": (
        "Any image-text-to-text checkpoint of transformers loads too: give its folder or hub id "
        "as --model.",
        "transformers 的任何图文到文本检查点也能加载：用 --model 给出文件夹或 hub id。",
    ),
    "compare.checking": ("measuring: {kind} …", "正在测量：{kind}……"),
    "compare.similarity": ("structural similarity: {value}", "结构相似度：{value}"),
    "compare.changed": (
        "changed: {share} % of what is compared; regions: {count}",
        "变化：占比较范围的 {share} %；区域：{count} 个",
    ),
    "compare.overlap": (
        "the second shows {share} % of the first; compared is what both show",
        "第二张覆盖第一张的 {share} %；只比较两张都有的部分",
    ),
    "compare.brightness": (
        "lightness of the second: {value} (CIE L*; black is 0, white 100)",
        "第二张的明度：{value}（CIE L*，黑为 0，白为 100）",
    ),
    "compare.region": (
        "{number}: {place}, box {box}, {area} % of what is compared",
        "{number}：{place}，方框 {box}，占比较范围的 {area} %",
    ),
    "compare.hardly_seen": (", which the model hardly sees", "，模型几乎看不出"),
    "check.kind": ("edit", "编辑"),
    "check.pairs": ("pairs", "图片对"),
    "check.precision": ("precision", "精确率"),
    "check.recall": ("recall", "召回率"),
    "check.pixel_precision": ("precision by pixels", "像素精确率"),
    "check.pixel_recall": ("recall by pixels", "像素召回率"),
    "check.edits": ("edits", "编辑处"),
    "check.regions": ("regions found", "找到的区域"),
    "check.largest_error": ("largest alignment error (pixels)", "最大对齐误差（像素）"),
    "check.median_seconds": ("seconds (median)", "秒（中位数）"),
    "check.boxes": ("boxes", "方框"),
    "check.hardly_seen": ("share hardly seen", "几乎看不出的比例"),
    "check.median_ratio": (
        "distance of features / that of recompression (median)",
        "特征距离 / 重新压缩的距离（中位数）",
    ),
    "check.large": (
        "12 megapixels each: {seconds} s, {megabytes} MB above the process, alignment error "
        "{error} pixels ({machine})",
        "各 1200 万像素：{seconds} 秒，比进程多用 {megabytes} MB，"
        "对齐误差 {error} 像素（{machine}）",
    ),
    "meter.line": (
        "{done} of {total} images, {pace}, {left} left",
        "{total} 张图片中的 {done} 张，{pace}，还需 {left}",
    ),
    "meter.unit": ("image", "张"),
    "describe.prompt": ("Describe the image.", "描述这张图片。"),
    "describe.prompt_together": ("Describe each of the images.", "分别描述每张图片。"),
    "describe.there": (
        "{count} of {total} images have their answer in {file} already",
        "{total} 张图片中有 {count} 张的回答已在 {file} 中",
    ),
    "describe.cut": (
        "the last line of {file} was only half written; it was taken off and its question is "
        "asked again",
        "{file} 的最后一行没有写完；已将其去掉，并会重新提问",
    ),
    "describe.stopped": (
        "Stopped with {done} of {total} images done. Run the same command again to go on.",
        "已停止，{total} 张图片中完成了 {done} 张。再次运行同一命令即可接着做。",
    ),
    "describe.stopped_unkept": (
        "Stopped with {done} of {total} images done. With --out FILE.jsonl a run can be gone on "
        "with.",
        "已停止，{total} 张图片中完成了 {done} 张。使用 --out FILE.jsonl 才能在之后接着做。",
    ),
    "describe.summary": (
        "{done} of {total} images done, {failed} failed",
        "{total} 张图片中完成 {done} 张，失败 {failed} 张",
    ),
    "embed.mean": (
        "{name} has no pooled embedding of its own: the mean over the positions is written",
        "{name} 没有自己的池化嵌入：写入的是各位置的平均值",
    ),
    "embed.stopped": (
        "Stopped with {done} of {total} images done. Nothing was written.",
        "已停止，{total} 张图片中完成了 {done} 张。没有写入任何内容。",
    ),
    "embed.summary": (
        "{done} of {total} images are in {file}, {failed} failed",
        "{total} 张图片中有 {done} 张已写入 {file}，失败 {failed} 张",
    ),
    "embed.nothing": (
        "{failed} of {total} images failed; {file} was not written",
        "{total} 张图片中失败 {failed} 张；没有写入 {file}",
    ),
    "info.loaded": ("weights {precision} on {device}", "权重 {precision}，位于 {device}"),
    "info.part": ("part (millions)", "部分（百万）"),
    "info.total": ("total", "总数"),
    "info.trainable": ("trainable", "可训练"),
    "info.quantised": ("quantised", "已量化"),
    "flag.images": ("files or https addresses", "文件或 https 地址"),
    "flag.images_and_folders": (
        "files, folders or https addresses",
        "文件、文件夹或 https 地址",
    ),
    "flag.folder": ("the folder with the images", "存放图片的文件夹"),
    "flag.recursive": ("folders in a folder too", "也包括文件夹中的文件夹"),
    "flag.describe_prompt": (
        "the question about every image (default: to describe it)",
        "对每张图片提的问题（默认：描述图片）",
    ),
    "flag.answers": (
        "keep the answers here, one JSON object a line; run again with the same file to go on",
        "把回答保存到此文件，每行一个 JSON 对象；用同一文件再次运行即可接着做",
    ),
    "flag.together": (
        "ask about N images at once, in natural order; without N, about all of them",
        "每次就 N 张图片一起提问，按自然顺序；不给 N 则全部一起",
    ),
    "flag.stage": (
        "whose output: the vision tower's, or the projector's, which is what the language model "
        "gets (default: tower)",
        "取哪一部分的输出：tower（视觉塔）或 projector（投影层，即语言模型得到的内容）；默认 tower",
    ),
    "flag.embeddings": ("the file to write", "要写入的文件"),
    "flag.pooled": (
        "also one vector for each image or tile, as FILE:pooled (tower only)",
        "另外为每张图片或每个图块写入一个向量，名为 FILE:pooled（仅限 tower）",
    ),
    "flag.force": ("write over a file that exists", "覆盖已有的文件"),
    "flag.prompt": ("the question; without it a conversation begins", "问题；不给则进入对话"),
    "flag.system_prompt": ("said to the model before everything", "最先告诉模型的话"),
    "flag.no_stream": ("print the answer when it is complete", "回答完成后再输出"),
    "flag.trace_prompt": ("the question", "问题"),
    "flag.traced": (
        "files or https addresses, after the model's folder if it is not given by --model",
        "文件或 https 地址；若未用 --model 指定模型，可在最前面写模型文件夹",
    ),
    "trace.photo": (
        "no image and no prompt: looking at the example photo {file}",
        "没有图片和问题：使用示例照片 {file}",
    ),
    "flag.no_weights": (
        "read the model from its configuration alone: shapes, and no values",
        "只读模型的配置：有形状，没有数值",
    ),
    "flag.json": ("print JSON", "以 JSON 输出"),
    "flag.compare_images": ("two files or https addresses", "两个文件或 https 地址"),
    "flag.out": (
        "write a heat map, the aligned second image and the regions into this folder",
        "把热图、对齐后的第二张图片和变化区域写入该文件夹",
    ),
    "flag.features": (
        "also ask the model: mark regions that it hardly sees",
        "同时询问模型：标出它几乎看不出的区域",
    ),
    "flag.compare_check": (
        "compare pairs with known edits instead and print how well changes are found",
        "改为比较已知编辑的图片对，并输出变化检测的准确度",
    ),
    "flag.pairs": ("pairs of each kind to check", "每种编辑检查多少对"),
    "flag.explain_answer": (
        "the answer to look into (default: what the model answers)",
        "要查看的回答（默认由模型现场回答）",
    ),
    "flag.word": (
        "show where it looked for this word (default: for the whole answer)",
        "显示它为这个词看了哪里（默认为整个回答）",
    ),
    "flag.method": (
        "attention (one run), or occlusion: a grey patch goes over the image, one run each",
        "attention（注意力，运行一次）或 occlusion（遮挡：灰块逐处覆盖图片，每处运行一次）",
    ),
    "flag.explain_out": (
        "write the map over the image into this file; of several images, one file each",
        "把叠加在图片上的热图写入该文件；多张图片则各写一个",
    ),
    "flag.explain_check": (
        "look at made pictures with an object in a known quarter instead and print how often it "
        "is found",
        "改为查看物体位于已知四分之一处的合成图片，并输出找到的比例",
    ),
    "flag.pictures": ("pictures to check with", "用于检验的图片数量"),
    "explain.answering": ("asking the model …", "正在询问模型……"),
    "explain.cells": (
        "image {number}: {share} % of the attention, most of it at {box}",
        "图片 {number}：占注意力的 {share} %，最集中处 {box}",
    ),
    "explain.patches": (
        "image {number}: most is lost without {box} ({value} nats)",
        "图片 {number}：缺少 {box} 时损失最大（{value} 奈特）",
    ),
    "explain.tile": (
        "In this model a visual token has no place within its tile: shown is how much each tile "
        "got. Occlusion shows more.",
        "该模型的视觉词元在图块内没有固定位置，显示的是每个图块所得的注意力。遮挡法可以看得更细。",
    ),
    "explain.image": (
        "This model does not tell where in the image its visual tokens lie: shown is how much the "
        "whole image got. Occlusion shows more.",
        "该模型没有说明视觉词元在图片中的位置，显示的是整张图片所得的注意力。遮挡法可以看得更细。",
    ),
    "explain.checking": ("looking at pictures: {kind} …", "正在查看图片：{kind}……"),
    "explain.kind": ("what is counted", "统计内容"),
    "explain.pictures": ("pictures", "图片数"),
    "explain.found": ("found", "找到"),
    "explain.rate": ("rate", "比例"),
    "explain.low": ("from", "下限"),
    "explain.high": ("to (95 %)", "上限（95 %）"),
    "explain.chance": ("by chance", "随机水平"),
    "flag.runs": ("how often to ask", "提问次数"),
    "flag.repeat": ("ask N times, each with the next seed", "问 N 次，每次用下一个种子"),
    "flag.replay": (
        "ask a turn of an exported conversation again, with its images, options and seed",
        "重新提问已导出对话中的一轮，沿用其图片、选项和种子",
    ),
    "flag.turn": (
        "which turn to replay, counted from 1 (default: the last)",
        "重新提问第几轮，从 1 数起（默认最后一轮）",
    ),
    "flag.preset": (
        "options the model was published with, by name; other flags count more",
        "使用模型自带的一组选项（按名称）；其他参数优先",
    ),
    "cli.other_model": (
        "the conversation is with {stored}; {loaded} answers now",
        "该对话使用的是 {stored}，现在由 {loaded} 回答",
    ),
    "flag.group": ("settings (each is also a VLM_... variable)", "设置（也可用 VLM_... 环境变量）"),
    "flag.model": (
        "model to load: a name from `models`, a folder or a hub id",
        "要加载的模型：`models` 列出的名称、文件夹或 hub id",
    ),
    "flag.tokenizer": (
        "folder or hub id to take the tokenizer from, where the model's has none",
        "当模型自身没有分词器时，从该文件夹或 hub id 读取",
    ),
    "flag.quantization": ("bits of the weights", "权重的位数"),
    "flag.dtype": ("number format of what is not quantised", "未量化部分的数值格式"),
    "flag.device": ("auto, cpu, cuda, cuda:1, mps", "auto、cpu、cuda、cuda:1、mps"),
    "flag.device_map": (
        "spread the model over all devices: auto, balanced, balanced_low_0, sequential",
        "把模型分布到所有设备：auto、balanced、balanced_low_0、sequential",
    ),
    "flag.backend": ("what answers: local", "由谁回答：local"),
    "flag.host": ("address to serve on", "监听地址"),
    "flag.port": ("port to serve on", "监听端口"),
    "flag.language": ("language of the words", "界面语言"),
    "flag.open_browser": ("open a browser tab", "打开浏览器标签页"),
    "flag.hosted": (
        "serve strangers: no web addresses, no free choice of models",
        "面向公众：不抓取网址，不能任选模型",
    ),
    "flag.max_megapixels": ("largest image, in millions of pixels", "图片像素上限（百万）"),
    "flag.max_side": ("longest side of an image, in pixels", "图片边长上限（像素）"),
    "flag.max_file_megabytes": ("largest image file, in MB", "图片文件大小上限（MB）"),
    "flag.max_images": ("most images in one message", "一条消息中图片数量上限"),
    "flag.max_conversation_megabytes": (
        "largest exported conversation that can be opened again, in MB",
        "可重新打开的对话文件大小上限（MB）",
    ),
    "flag.idle_minutes": (
        "put the model away after so many minutes without a question; 0: never",
        "闲置这么多分钟后卸载模型；0 表示从不",
    ),
    "option.group": ("the answer (unset: the model's own default)", "回答（不设则用模型默认值）"),
    "option.temperature": ("0 is exact, higher is more varied", "0 最确定，越高越多样"),
    "option.top_p": ("keep the likeliest tokens up to this probability", "保留累计概率内的词元"),
    "option.top_k": ("keep so many of the likeliest tokens", "保留最可能的若干词元"),
    "option.repetition_penalty": ("above 1: repeat less", "大于 1 时减少重复"),
    "option.num_beams": ("search so many answers at once", "同时搜索的答案数"),
    "option.kv_cache_bits": (
        "keep the context in 8 bits: half its memory, not for every model; 4 are not offered",
        "以 8 位保存上下文：占用减半，并非所有模型都支持；不提供 4 位",
    ),
    "option.max_new_tokens": ("longest answer, in tokens", "回答的最大词元数"),
    "option.min_new_tokens": ("shortest answer, in tokens", "回答的最小词元数"),
    "option.stop": ("end before this text (may be repeated)", "遇到此文本前结束（可多次给出）"),
    "option.seed": ("same seed, same answer", "相同种子得到相同回答"),
    "option.image_detail": (
        "how images are cut up and scaled, as NAME=VALUE (may be repeated): tiles, thumbnail, "
        "splitting, padding, numbering, pixels",
        "图片的切分与缩放，写作 NAME=VALUE（可多次给出）：tiles、thumbnail、splitting、"
        "padding、numbering、pixels",
    ),
}
