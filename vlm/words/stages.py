"""Words of the stages of a model, their axes, numbers and figures: key -> (English, Chinese)."""

from collections.abc import Mapping

STAGES: Mapping[str, tuple[str, str]] = {
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
    "stage.pixel_values.one_scale": (
        "Drawn from the smallest number to the largest, as this processor does not show how it "
        "normalises: the colours are not those of the photo.",
        "按最小值到最大值着色：该处理器没有显出它怎样归一化，所以颜色与照片不同。",
    ),
    "stage.tgt_sizes": (
        "Rows and columns of patches of each picture, which differ from picture to picture.",
        "每张图的图块行数和列数，各图可以不同。",
    ),
    "stage.patch_positions": (
        "Which place of the table of positions each patch takes, by its share of height and width.",
        "每个图块取位置表的哪一格，由它在高和宽上的比例决定。",
    ),
    "stage.stem": (
        "What the first convolution makes of the pixels, on a grid of {rows} × {columns} cells. "
        "This tower has no patches and no table of positions: one convolution after another makes "
        "the cells fewer and larger.",
        "第一层卷积从像素得到的结果，网格为 {rows} × {columns}。这个视觉塔不切图块，也没有位置表："
        "卷积一层层做下去，格子越来越少，每格覆盖的范围越来越大。",
    ),
    "stage.patch_embedding": (
        "Each patch as a row of numbers, which one convolution makes of its pixels. No patch knows "
        "another yet.",
        "每个图块变成一行数值，由一层卷积从它的像素算出。此时图块之间还互不相识。",
    ),
    "stage.patch_embedding.sizes": (
        "{pixels} pixels a side make {side} × {side} patches of {patch} × {patch} pixels.",
        "边长 {pixels} 像素，切成 {side} × {side} 个图块，每块 {patch} × {patch} 像素。",
    ),
    "stage.patch_embedding.places": (
        "What the table of positions says of its place is added to it here.",
        "位置表中它那一格的数值也在这里加上。",
    ),
    "stage.patch_embedding.class": (
        "The first position is no patch but the class token, which starts the same for every "
        "picture.",
        "第一个位置不是图块，而是类别 token，对每张图起点都一样。",
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
        "Neighbouring positions gathered into one token: fewer of them, each so much wider.",
        "相邻位置收拢成一个 token：位置变少，每个相应变宽。",
    ),
    "stage.pixel_shuffle.all": (
        "{patches} positions become {tokens} tokens, {each} side by side in each. Nothing is lost "
        "or averaged.",
        "{patches} 个位置变成 {tokens} 个 token，每个并排放 {each} 个，没有丢弃也没有平均。",
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
        "The merged sequence: embedded words with the visual tokens in their places. From here on "
        "words and pictures, and one tile and another, can take note of each other.",
        "合并后的序列：词向量，其中占位处换成了视觉 token。从这里起，文字与图像、块与块之间"
        "才能互相看到。",
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
        "use {used} of {places}: each by its share of height and width, never at random. Patches "
        "at the same share, such as those of several pictures, have one place.",
        "位置表有 {side} × {side} 格；这张照片的 {patches} 个图块用了 {places} 格中的 {used} 格："
        "各按自己在高和宽上的比例取格，绝非随机。比例相同的图块（例如来自几张图的）取同一格。",
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
