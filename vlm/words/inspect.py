"""Words of the Inspect tab: key -> (English, Chinese)."""

from collections.abc import Mapping

INSPECT: Mapping[str, tuple[str, str]] = {
    "tab.inspect": ("Inspect", "检视"),
    "inspect.image": ("Photos", "照片"),
    "inspect.keep": ("Add to the photos that are here", "保留现有照片，继续添加"),
    "inspect.photo": ("Image {number}", "图片 {number}"),
    "inspect.photo.out": ("Take image {number} out", "移去图片 {number}"),
    "inspect.question": ("Question", "问题"),
    "inspect.question.default": ("What is in this picture?", "图里有什么？"),
    "inspect.model": ("Model", "模型"),
    "inspect.model.info": (
        "The loaded one shows values. Any other is shown from its configuration: real image "
        "processing, shapes and memory, no weights.",
        "已加载的模型能看到数值；其他模型只凭配置展示：图像处理是真实的，另有形状和内存，但没有权重。",
    ),
    "inspect.model.loaded": ("loaded now", "当前已加载的模型"),
    "inspect.model.bare": ("{title} (no weights)", "{title}（无权重）"),
    "inspect.model.disk": ("{title} (no weights, files here)", "{title}（无权重，文件在本机）"),
    "inspect.model.hub": ("{title} (no weights, needs the hub)", "{title}（无权重，需联网）"),
    "inspect.fetching": (
        "asking the hub for its configuration; without a network this fails after a while …",
        "正在向 hub 获取它的配置；没有网络时，过一会儿会失败 …",
    ),
    "inspect.trace": ("Trace", "开始追踪"),
    "inspect.cancel": ("Stop", "停止"),
    "inspect.empty": (
        "Choose a photo to see how a model cuts it up, and Trace to follow it to the first word.",
        "先选一张照片，看模型怎样切分它；再点“开始追踪”，一路跟到第一个词。",
    ),
    "inspect.ready": (
        "Press Trace to follow this photo to the first word.",
        "点“开始追踪”，看这张照片怎样一路走到第一个词。",
    ),
    "inspect.begun": ("preparing the image …", "正在处理图片 …"),
    "inspect.stopped": (
        "Stopped half-way: {count} of {total} stages were reached.",
        "中途停止：{total} 个阶段走到了第 {count} 个。",
    ),
    "inspect.no_weights": ("No weights: shapes only", "没有权重：只有形状"),
    "inspect.no_weights.why": (
        "The image was really prepared and every shape is that of the full-size model, but no "
        "value of a weight is known, so there is nothing to colour and no word to come.",
        "图片经过了真实的预处理，各处形状也与完整模型一致；但没有权重数值，所以无法着色，也预测不出下一个词。",
    ),
    "inspect.byte_words": (
        "Its tokenizer is not on this machine: words are counted in bytes, of which it would make "
        "fewer tokens; visual tokens are counted exactly.",
        "本机没有它的分词器：文字按字节计数，实际 token 会更少；视觉 token 数是准确的。",
    ),
    "inspect.memory": (
        "Weights: {none} in 16 bits, {int8} in 8, {nf4} in 4. Reading this prompt: at most {work} "
        "more.",
        "权重：16 位 {none}，8 位 {int8}，4 位 {nf4}。读这段提示词最多另需 {work}。",
    ),
    "inspect.size": (
        "{width} × {height} → {to_width} × {to_height} pixels",
        "{width} × {height} → {to_width} × {to_height} 像素",
    ),
    "inspect.size.unknown": (
        "{width} × {height} pixels; the size sent is not told",
        "{width} × {height} 像素；送入尺寸未知",
    ),
    "inspect.tokens": ("{count} visual tokens", "{count} 个视觉 token"),
    "inspect.tokens.each": ("{count} each", "每块 {count} 个"),
    "inspect.tokens.apart": (
        "{count} each, the thumbnail {other}",
        "每块 {count} 个，缩略图 {other} 个",
    ),
    "inspect.tokens.grid": ("{rows} × {columns} on a grid", "{rows} × {columns} 网格"),
    "inspect.tokens.queries": (
        "they stand nowhere in the tile: each is the answer to a learned query",
        "不对应块内的位置：每个 token 都是一个可学习查询的回答",
    ),
    "inspect.share": ("{share} % of a context of {limit}", "占上下文 {limit} 的 {share}%"),
    "inspect.tiles": ("{count} tiles", "{count} 块"),
    "inspect.tiles.thumbnail": ("{count} tiles and a thumbnail", "{count} 块和一张缩略图"),
    "inspect.tiles.one": ("1 tile and a thumbnail", "1 块和一张缩略图"),
    "inspect.tiles.unknown": (
        "This processor does not tell how it cuts an image.",
        "该处理器不说明图片怎样切分。",
    ),
    "inspect.stretched": (
        "So long and thin that it is drawn thicker here; the model gets it as it is.",
        "照片过于细长，这里画粗了以便看见；模型得到的仍是原样。",
    ),
    "inspect.proportions": ("proportions kept", "比例不变"),
    "inspect.narrower": (
        "squeezed from {before} to {after}, so all looks narrower",
        "比例由 {before} 压成 {after}：画面变窄",
    ),
    "inspect.flatter": (
        "squeezed from {before} to {after}, so all looks flatter",
        "比例由 {before} 压成 {after}：画面变扁",
    ),
    "inspect.cropped": (
        "cropped to the {width} × {height} pixels in the frame: {share} % is cut away and not seen",
        "裁到框内的 {width} × {height} 像素：裁掉 {share}%，模型看不到",
    ),
    "inspect.padded": (
        "filled up: {share} % of what is sent is plain border",
        "有填充：送入画面的 {share}% 是空白边",
    ),
    "inspect.tile": ("Tile {number}: {count} tokens", "第 {number} 块：{count} 个 token"),
    "inspect.tile.at": (
        "Tile {number}: {count} tokens, {first} to {last} of the prompt",
        "第 {number} 块：{count} 个 token，提示词中第 {first}–{last} 个",
    ),
    "inspect.thumbnail": (
        "Thumbnail, the whole photo once more: {count} tokens",
        "缩略图，即整张照片：{count} 个 token",
    ),
    "inspect.thumbnail.at": (
        "Thumbnail, the whole photo once more: {count} tokens, {first} to {last} of the prompt",
        "缩略图，即整张照片：{count} 个 token，提示词中第 {first}–{last} 个",
    ),
    "inspect.thumbnail.first": (
        "Thumbnail, the only picture of the whole; read before the tiles",
        "缩略图，唯一的全图，在各块之前读入",
    ),
    "inspect.thumbnail.last": (
        "Thumbnail, the only picture of the whole; read after the tiles",
        "缩略图，唯一的全图，在各块之后读入",
    ),
    "inspect.thumbnail.mark": ("T", "缩"),
    "inspect.sequence": ("The merged sequence", "合并后的序列"),
    "inspect.sequence.words": (
        "{count} tokens, {image} of them of images",
        "共 {count} 个 token，其中图像 {image} 个",
    ),
    "inspect.sequence.about": (
        "about {count} tokens, exactly {image} of them of images",
        "约 {count} 个 token，其中图像恰好 {image} 个",
    ),
    "inspect.share.about": (
        "about {share} % of a context of {limit}",
        "约占上下文 {limit} 的 {share}%",
    ),
    "inspect.about": ("≈ {count}", "≈ {count}"),
    "inspect.strip": (
        "A colour for each token from the first to the last: dark is small, light is large; of "
        "features it is their length.",
        "从第一个 token 到最后一个，每个一色：深色小，浅色大；特征按向量长度。",
    ),
    "inspect.features": (
        "A colour for each position, by the three directions in which the features differ most: "
        "like colours are like features. Which colour it is says nothing.",
        "每个位置一种颜色，取特征差异最大的三个方向：颜色相近，特征就相近；具体是什么颜色没有含义。",
    ),
    "inspect.histogram": (
        "How often each value occurs, from the smallest on the left to the largest on the right; "
        "rare ones are drawn higher than they are, to be seen.",
        "各数值出现的次数，左边最小，右边最大；少见的画得偏高，以便看见。",
    ),
    "inspect.strip.images": (
        "The line below it marks the tokens of the image.",
        "下方的线标出图像的 token。",
    ),
    "inspect.words_span": ("Words: tokens {first} to {last}", "文字：第 {first}–{last} 个 token"),
    "inspect.prompt": ("The prompt as the model gets it", "模型实际得到的提示词"),
    "inspect.stages": ("The way through the model", "模型内部的各个阶段"),
    "inspect.pixels_ready": (
        "Words to tokens and the photo to pixels took {seconds}; times below are from there on.",
        "文字转 token、照片转像素用时 {seconds}；下面的时间从那之后算起。",
    ),
    "inspect.shape": ("shape", "形状"),
    "inspect.unfold": ("{name}: larger picture and numbers", "{name}：大图与数值"),
    "inspect.seconds": ("{value} s", "{value} 秒"),
    "inspect.milliseconds": ("{value} ms", "{value} 毫秒"),
    "inspect.next": ("The likeliest next tokens", "最可能的下一个 token"),
    "inspect.next.why": (
        "Probabilities of the very first token, before temperature and top-p.",
        "回答首个 token 的概率，尚未经过温度和 top-p。",
    ),
    "rounding": (
        "In 16 bits a probability depends a little on how many tokens are read at once: Trace "
        "reads the prompt alone, “Where it looked” the answer with it. A few points between them "
        "are rounding.",
        "16 位计算时，概率会随一次读入多少 token 略有出入：“开始追踪”只读提示词，“它看了哪里”连回答"
        "一起读；两者相差几个百分点属于舍入误差。",
    ),
    "inspect.figures": ("Explained by a picture", "图解"),
    "inspect.hover": (
        "Point at a tile or move to it with Tab: its tokens light up in the sequence, and back.",
        "指向某一块，或用 Tab 移到它：它的 token 会在序列中亮起，反过来也一样。",
    ),
    "inspect.send": ("Inspect", "检视"),
    "inspect.send.image": ("Inspect image {number}", "检视第 {number} 张图片"),
    "inspect.answer": ("Answer", "回答"),
    "looked.title": ("Where it looked", "它看了哪里"),
    "looked.send": ("Where did it look?", "它看了哪里？"),
    "looked.send.label": (
        "Where did the model look for answer {number}?",
        "第 {number} 个回答看了图片的哪里？",
    ),
    "looked.asked": ("“{question}”", "“{question}”"),
    "looked.foreign": (
        "another model or setting wrote this answer; the loaded one reads it as if it were its own",
        "这个回答出自另一个模型或设置；现在由已加载的模型当作自己的回答来读",
    ),
    "looked.by": ("How it is found out", "方法"),
    "looked.by.attention": ("By attention", "看注意力"),
    "looked.by.attention.why": (
        "One more reading of the answer: where the attention of each word went.",
        "把回答再读一遍：每个词的注意力落在哪里。",
    ),
    "looked.by.occlusion": ("By painting over", "遮住试试"),
    "looked.by.occlusion.why": (
        "Slow: {count} readings, each with another place painted over in grey.",
        "较慢：共读 {count} 遍，每遍用灰色遮住一处。",
    ),
    "looked.view": ("Which map", "显示哪种图"),
    "looked.own": ("Its own map", "词本身"),
    "looked.own.why": ("Where the attention of the word went.", "这个词的注意力落在哪里。"),
    "looked.beyond": ("Beyond the rest", "比其余多出的"),
    "looked.beyond.why": (
        "What the word has more than the rest of the answer: tells two objects apart.",
        "这个词比回答其余部分多看的地方，便于区分两个物体。",
    ),
    "looked.whole": ("Whole answer", "整个回答"),
    "looked.words": ("Words of the answer", "回答中的词"),
    "looked.hint": (
        "Point at a word, or go through them with the arrow keys. Press one for its tokens: how "
        "likely each was, and what else could have stood there. The bar under a word is how likely "
        "it was.",
        "指向一个词，或用方向键逐个查看。点一下可看它的 token：各有多大概率，还可能是什么。"
        "词下的横条就是它的概率。",
    ),
    "looked.word": ("{word}, {share} % likely", "{word}，概率 {share}%"),
    "looked.number": ("{number} of question {turn}", "{number}（第 {turn} 问）"),
    "looked.image": ("Image {number} · {name}", "图片 {number} · {name}"),
    "looked.low": ("little", "少"),
    "looked.high": ("most", "最多"),
    "looked.of": ("“{word}”: {said}", "“{word}”：{said}"),
    "looked.of.whole": ("Whole answer: {said}", "整个回答：{said}"),
    "looked.share": (
        "{share} % of the attention goes to the picture, the rest to words.",
        "{share}% 的注意力在图片上，其余在文字上。",
    ),
    "looked.shares": (
        "{share} % of the attention goes to the images, the rest to words. Of that, {parts}.",
        "{share}% 的注意力在图片上，其余在文字上。其中 {parts}。",
    ),
    "looked.part": ("image {number}: {share} %", "图片 {number}：{share}%"),
    "looked.lost": (
        "with its brightest place painted over, {times} times less likely.",
        "遮住最亮的地方后，可能性降到 {times} 分之一。",
    ),
    "looked.lost.where": (
        "with its brightest place painted over (in image {number}), {times} times less likely.",
        "遮住最亮的地方（在图片 {number} 中）后，可能性降到 {times} 分之一。",
    ),
    "looked.lost.none": (
        "no place made it less likely when painted over.",
        "遮住哪里都没有降低它的可能性。",
    ),
    "looked.no_image": ("There was no image to look at.", "没有图片可看。"),
    "looked.tokens": (
        "Tokens of “{word}”, the word that is pressed",
        "“{word}”（已点选的词）的 token",
    ),
    "looked.token": ("{share} % likely", "概率 {share}%"),
    "looked.token.own": ("the one in the answer", "回答中的这一个"),
    "looked.kept.in": (
        "Top-p, top-k and the other options left {count} tokens to draw from, this one among them.",
        "经 top-p、top-k 等选项后剩 {count} 个 token 可选，其中有它。",
    ),
    "looked.kept.out": (
        "Top-p, top-k and the other options left {count} tokens to draw from, but not this one.",
        "经 top-p、top-k 等选项后剩 {count} 个 token 可选，其中没有它。",
    ),
    "looked.kept.one.in": (
        "The options left one token only, the likeliest: this one.",
        "选项只留下最可能的一个 token，就是它。",
    ),
    "looked.kept.one.out": (
        "The options left one token only, the likeliest, and it is not this one.",
        "选项只留下最可能的一个 token，但不是它。",
    ),
    "looked.tile": (
        "In this model a visual token has no place within its tile: shown is how much each tile "
        "got. Painting over shows more.",
        "该模型的视觉 token 在块内没有固定位置，显示的是每块所得的注意力。“遮住试试”能看得更细。",
    ),
    "looked.image_only": (
        "This model does not tell where in the image its visual tokens lie: shown is how much the "
        "whole image got. Painting over shows more.",
        "该模型没有说明视觉 token 在图中的位置，显示的是整张图所得的注意力。“遮住试试”能看得更细。",
    ),
    "looked.why.attention": (
        "Attention of layers {first} to {last}, averaged; the brightest colour is the word’s own "
        "largest value, so two words do not compare by colour. No proof of why a word was said: "
        "attention is one of many ways from image to answer, and what is striking draws it for "
        "every word.",
        "第 {first} 到 {last} 层注意力的平均；最亮处是该词自己的最大值，不同的词不能按颜色比较。"
        "这不能证明为什么说出某个词：从图片到回答有许多途径，注意力只是其一，而醒目的东西总会吸引它。",
    ),
    "looked.why.occlusion": (
        "One place after the other was painted over in grey; bright is where the probability fell "
        "most. No proof of why a word was said: without one place another may serve.",
        "逐处用灰色遮住；越亮的地方，遮住后概率降得越多。这不能证明为什么说出某个词：少了一处，别处也可能顶上。",
    ),
}
