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
    "inspect.model.hub": ("{title} (no weights, from the hub)", "{title}（无权重，需联网）"),
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
    "inspect.cropped": (
        "Outside the frame nothing is seen: it is cropped away.",
        "框外的部分被裁掉，模型看不到。",
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
    "inspect.thumbnail.first": ("Thumbnail, read before the tiles", "缩略图，在各块之前读入"),
    "inspect.thumbnail.last": ("Thumbnail, read after the tiles", "缩略图，在各块之后读入"),
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
    "number.min": ("smallest", "最小"),
    "number.mean": ("mean", "平均"),
    "number.max": ("largest", "最大"),
    "number.spread": ("standard deviation", "标准差"),
    "number.not_finite": ("no numbers (inf or nan)", "非数值（inf 或 nan）"),
    "axis.images": ("pictures", "图像数"),
    "axis.images.thumbnail": ("pictures: tiles and thumbnail", "图像数：各块与缩略图"),
    "axis.images.tiles": ("pictures: the tiles", "图像数：各块"),
    "axis.images.whole": ("pictures: one for each photo", "图像数：每张照片一张"),
    "axis.channels": ("colours: red, green, blue", "颜色：红、绿、蓝"),
    "axis.height": ("rows of pixels", "像素行"),
    "axis.height.strip": ("rows of pixels of a patch", "一个图块的像素行"),
    "axis.width": ("numbers that describe one position", "描述一个位置的数值个数"),
    "axis.pixel_width": ("columns of pixels", "像素列"),
    "axis.pixel_width.strip": (
        "columns of pixels: the patches of a picture side by side in one strip, filled up to the "
        "longest",
        "像素列：一张图的图块并排成一条，不足的补到最长",
    ),
    "axis.positions": ("positions in the picture", "图中的位置"),
    "axis.positions.patches": ("positions: one for each patch", "位置：每个图块一个"),
    "axis.positions.class": (
        "positions: {patches} patches and before them the class token, which stands for the whole",
        "位置：{patches} 个图块，前面再加一个代表整图的类别 token",
    ),
    "axis.positions.strip": (
        "positions: one for each patch, filled up to the picture with the most",
        "位置：每个图块一个，不足的补到最多的那张",
    ),
    "axis.positions.cells": (
        "positions: one for each cell of the last grid of the convolutions",
        "位置：最后一层卷积网格的每格一个",
    ),
    "axis.positions.tokens": ("visual tokens of a picture", "一张图的视觉 token"),
    "axis.queries": ("learned queries", "可学习的查询"),
    "axis.batch": ("prompts at once", "同时处理的提示词数"),
    "axis.tokens": ("tokens of the prompt", "提示词的 token"),
    "axis.tokens.last": (
        "the last token of the prompt alone: the next one follows from it",
        "只取提示词的最后一个 token：下一个由它得出",
    ),
    "axis.tokens.about": (
        "tokens of the prompt, about: its words are counted in bytes",
        "提示词的 token（约数：文字按字节计）",
    ),
    "axis.words": ("words of the vocabulary", "词表中的词"),
    "axis.sides": ("rows and columns of patches", "图块的行数与列数"),
    "axis.patches": ("patches", "图块"),
    "axis.values": ("values of a patch", "一个图块的数值"),
    "axis.rows": ("rows", "行"),
    "axis.columns": ("columns", "列"),
    "stage.input_ids": (
        "Words and placeholders as numbers; the same number stands for every part of an image.",
        "文字和占位符的编号；图像的每个部分都用同一个编号占位。",
    ),
    "stage.pixel_values": (
        "What the vision tower gets: pixels, resized and normalised.",
        "视觉塔的输入：缩放并归一化后的像素。",
    ),
    "stage.pixel_values.whole": (
        "What the vision tower gets: one picture of each photo, resized and normalised.",
        "视觉塔的输入：每张照片一张图，已缩放并归一化。",
    ),
    "stage.pixel_values.tiles": (
        "What the vision tower gets: tiles, resized and normalised.",
        "视觉塔的输入：缩放并归一化后的各块。",
    ),
    "stage.pixel_values.strip": (
        "What the vision tower gets: each picture resized, normalised and laid out as one strip, "
        "patch beside patch; how many rows and columns they make stands in tgt_sizes.",
        "视觉塔的输入：每张图缩放、归一化后，图块并排成一条；有几行几列写在 tgt_sizes 里。",
    ),
    "stage.pixel_values.patches": (
        "What the vision tower gets: pictures resized, normalised and cut into patches, one a row.",
        "视觉塔的输入：缩放、归一化并切成图块，每行一个。",
    ),
    "stage.pixel_values.alpha": ("Alpha is gone by here.", "透明度到这里已不存在。"),
    "stage.pixel_values.colours": (
        "Drawn with the normalisation taken back.",
        "图中已还原归一化，显示原本的颜色。",
    ),
    "stage.tgt_sizes": (
        "Rows and columns of patches of each picture, which differ from picture to picture.",
        "每张图的图块行数和列数，各图可以不同。",
    ),
    "stage.patch_positions": (
        "Which place of the table of positions each patch takes, by its share of height and width.",
        "每个图块取位置表的哪一格，由它在高和宽上的比例决定。",
    ),
    "stage.vision_tower": (
        "Features after the last layer of the vision tower.",
        "视觉塔最后一层输出的特征。",
    ),
    "stage.vision_tower.attends": (
        "By attention each position knows its whole picture.",
        "通过注意力，每个位置都看过自己那张图的全部。",
    ),
    "stage.vision_tower.convolves": (
        "This tower has no attention: by its convolutions each position knows what lies around it.",
        "这个视觉塔没有注意力：每个位置只通过卷积了解自己周围的部分。",
    ),
    "stage.vision_tower.tiles": ("No tile knows another.", "块与块之间互不相识。"),
    "stage.vision_tower.pictures": ("No picture knows another.", "图与图之间互不相识。"),
    "stage.vision_tower.same": (
        "Its table of positions has {stored} × {stored} places for {side} × {side} patches: used "
        "as it is stored, not resized.",
        "位置表有 {stored} × {stored} 格，图块为 {side} × {side}：按存储的原表使用，不缩放。",
    ),
    "stage.vision_tower.resized": (
        "Its table of positions has {stored} × {stored} places for {side} × {side} patches: it is "
        "resized to them.",
        "位置表有 {stored} × {stored} 格，图块为 {side} × {side}：先缩放到同样大小再用。",
    ),
    "stage.vision_tower.buckets": (
        "Its table of positions has {side} × {side} places, whatever the picture: each patch takes "
        "one of them, and the table is never resized.",
        "位置表固定为 {side} × {side} 格：每个图块取其中一格，表从不缩放。",
    ),
    "stage.selected": (
        "The hidden state of the vision tower that is handed on.",
        "视觉塔传下去的隐藏状态。",
    ),
    "stage.selected.last": (
        "What is handed on: the output of the last of the vision tower's {layers} layers.",
        "传下去的是视觉塔 {layers} 层中最后一层的输出。",
    ),
    "stage.selected.layer": (
        "What is handed on: the output of layer {layer} of the vision tower's {layers}.",
        "传下去的是视觉塔 {layers} 层中第 {layer} 层的输出。",
    ),
    "stage.selected.without": (
        "The class token is left out here: of {had} positions {kept} go on, one for each patch.",
        "类别 token 在这里去掉：{had} 个位置中有 {kept} 个传下去，每个图块一个。",
    ),
    "stage.selected.with": (
        "The class token is still there: {kept} positions are {patches} patches and one for the "
        "whole.",
        "类别 token 还在：{kept} 个位置是 {patches} 个图块加一个代表整图的。",
    ),
    "stage.selected.none": (
        "This tower has no class token: all {kept} positions are patches and go on.",
        "这个视觉塔没有类别 token：{kept} 个位置都是图块，全部传下去。",
    ),
    "stage.pixel_shuffle": (
        "Neighbouring patches gathered into one token: fewer positions, each so much wider.",
        "相邻图块收拢成一个 token：位置变少，每个相应变宽。",
    ),
    "stage.pixel_shuffle.all": (
        "{patches} patches become {tokens} tokens, {each} side by side in each. Nothing is lost or "
        "averaged.",
        "{patches} 个图块变成 {tokens} 个 token，每个并排放 {each} 个，没有丢弃也没有平均。",
    ),
    "stage.pixel_shuffle.without": (
        "The class token is left out here: of {had} positions {patches} are patches and become "
        "{tokens} tokens, {each} side by side in each. No patch is lost or averaged.",
        "类别 token 在这里去掉：{had} 个位置中的 {patches} 个图块变成 {tokens} 个 token，"
        "每个并排放 {each} 个，没有丢弃任何图块，也没有平均。",
    ),
    "stage.projector": (
        "Visual tokens, as wide as the language model's words. They go where the placeholders are.",
        "视觉 token，与语言模型的词向量同宽，将填入占位符的位置。",
    ),
    "stage.projector.queries": (
        "They are the answers of {queries} learned queries, each of which attends to all patches "
        "of one picture: however many patches there are, {queries} tokens come out, and what no "
        "query asks for is lost.",
        "它们是 {queries} 个可学习查询的回答，每个查询都关注一张图的全部图块：无论图块多少，"
        "都得到 {queries} 个 token；没有查询问到的就丢了。",
    ),
    "stage.inputs_embeds": (
        "The merged sequence: embedded words with the visual tokens in their places.",
        "合并后的序列：词向量，其中占位处换成了视觉 token。",
    ),
    "stage.attention_mask": (
        "1 for tokens that are attended to, 0 for those that are not.",
        "1 表示会被注意到的 token，0 表示不会。",
    ),
    "stage.position_ids": (
        "Positions of tokens in the sequence. Visual tokens are simply counted on; none is told "
        "its row or column here.",
        "token 在序列中的位置。视觉 token 只是接着往下数，这里并不告诉它在第几行第几列。",
    ),
    "stage.final_hidden": (
        "The language model's last layer, after its norm.",
        "语言模型最后一层（归一化之后）。",
    ),
    "stage.logits": (
        "A score for every word of the vocabulary, for the token that comes next.",
        "下一个 token 在词表中每个词上的得分。",
    ),
    "drawing.filters": (
        "What the first convolution looks for: the first of {count} filters of {side} × {side} "
        "pixels, each on its own scale.",
        "第一层卷积在找什么：{count} 个 {side} × {side} 像素滤波器中的前几个，各自单独定标。",
    ),
    "drawing.buckets": (
        "The table of positions has {side} × {side} places; the {patches} patches of this photo "
        "use {used} of {places}. They are spread evenly over it, never at random.",
        "位置表有 {side} × {side} 格；这张照片的 {patches} 个图块用了 {places} 格中的 {used} 格，"
        "均匀铺开，绝非随机。",
    ),
    "drawing.positions.same": (
        "The table of positions, {stored} × {stored}: used as it is stored, for {side} × {side} "
        "patches.",
        "位置表，{stored} × {stored}：按存储的原表用于 {side} × {side} 个图块。",
    ),
    "drawing.positions.resized": (
        "The table of positions as it is stored, {stored} × {stored}: it is resized for {side} × "
        "{side} patches.",
        "位置表的存储形式，{stored} × {stored}：缩放后用于 {side} × {side} 个图块。",
    ),
    "drawing.table.same": (
        "The grid of {side} × {side} patches on the table of positions, {stored} × {stored}, a "
        "colour for each place: one for each patch, so the table is used as it is stored. The "
        "values themselves take weights.",
        "{side} × {side} 个图块对应 {stored} × {stored} 的位置表，每格一色：一个图块一格，"
        "所以按存储的原表使用，不缩放。数值本身需要权重。",
    ),
    "drawing.table.resized": (
        "The grid of {side} × {side} patches on the table of positions, {stored} × {stored}, a "
        "colour for each place: the sizes differ, so the table is resized. The values themselves "
        "take weights.",
        "{side} × {side} 个图块对应 {stored} × {stored} 的位置表，每格一色：大小不同，"
        "所以先缩放再用。数值本身需要权重。",
    ),
    "drawing.positions_used": (
        "The same for {side} × {side} patches: bicubic where the sizes differ, else untouched.",
        "同一张表用于 {side} × {side} 个图块：尺寸不同时双三次插值，相同则原样使用。",
    ),
    "drawing.gathered": (
        "Which of {side} × {side} patches become one token: {each} neighbours each, {tokens} "
        "tokens in all. It gathers; it scatters nothing.",
        "{side} × {side} 个图块中哪些合成一个 token：相邻 {each} 个一组，共 {tokens} 个。"
        "它是收拢，不是打散。",
    ),
    "drawing.pairs": (
        "Which of a head's {rows} numbers are turned together by their position, in {pairs} "
        "colours: neighbours in the file (above), one of each half once loaded (below). Loading "
        "reorders the rows of queries and keys; attention comes out the same.",
        "注意力头的 {rows} 个数值中，哪些按位置成对旋转（{pairs} 种颜色）：文件中是相邻两个（上），"
        "加载后是前后两半各一个（下）。加载时重排查询和键的行，注意力结果不变。",
    ),
    "drawing.turns": (
        "How far each of {pairs} pairs of numbers turns by the end of a prompt, against the "
        "furthest in training on {trained} tokens; dark: no further. From top to bottom prompts 1 "
        "to {longest} times as long, from left to right fast pairs to slow ones. First without, "
        "then with the rule of Qwen, which spares the slow pairs angles they never saw.",
        "到提示词末尾，{pairs} 对数值各转了多远，与训练（{trained} 个 token）中最远的相比；"
        "深色表示没有更远。从上到下：提示词长 1 至 {longest} 倍；从左到右：由快到慢。"
        "前一幅没有、后一幅采用 Qwen 的规则，使慢的那些对不会遇到没见过的角度。",
    ),
}
