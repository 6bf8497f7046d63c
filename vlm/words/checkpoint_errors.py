"""Words of errors about checkpoints: finding, loading and writing them. See `vlm.strings`."""

from collections.abc import Mapping

CHECKPOINT_ERRORS: Mapping[str, tuple[str, str]] = {
    "error.no_such_checkpoint": (
        "There is no checkpoint {source!r}: no folder of that name, and a hub id has the form "
        "OWNER/NAME. Built in: {known}.",
        "找不到检查点 {source!r}：没有这个文件夹，hub id 的格式是 OWNER/NAME。内置的有：{known}。",
    ),
    "error.no_model_named": (
        "No model is named. Choose one from the list, or give a hub id (OWNER/NAME) or a folder.",
        "没有指定模型。请从列表中选择，或给出 hub id（OWNER/NAME）或文件夹。",
    ),
    "error.not_a_folder": (
        "{source} is a file; a checkpoint is a folder with config.json and weights. Name the "
        "folder.",
        "{source} 是文件；检查点应是含 config.json 和权重的文件夹。请给出文件夹。",
    ),
    "error.no_config": (
        "{source} has no config.json (found: {found}). Name the folder that holds it.",
        "{source} 中没有 config.json（现有：{found}）。请给出包含它的文件夹。",
    ),
    "error.no_weights": (
        "{source} has no weights (found: {found}); *.safetensors files are expected. Download "
        "them into that folder.",
        "{source} 中没有权重（现有：{found}），应有 *.safetensors 文件。请下载到该文件夹。",
    ),
    "error.not_image_to_text": (
        "{source} is a {got!r} model, which does not answer about images. Choose an "
        "image-text-to-text checkpoint.",
        "{source} 是 {got!r} 模型，不能就图片作答。请选择图文到文本的检查点。",
    ),
    "error.no_vision_tower": (
        "{source} is a {got!r} model without a vision tower that can be loaded. Name a checkpoint "
        "that is one, such as SigLIP or CLIP, or that contains one.",
        "{source} 是 {got!r} 模型，没有可加载的视觉塔。"
        "请给出 SigLIP、CLIP 之类的检查点，或包含视觉塔的检查点。",
    ),
    "error.stage_not_shown": (
        "{name} does not show what its {stage} makes of an image. Choose the other --stage, or "
        "another model.",
        "{name} 不提供 {stage} 阶段对图片的输出。请选择另一个 --stage，或换一个模型。",
    ),
    "error.no_processor": (
        "{source} has no image processor, so images cannot be given to it. The folder needs "
        "processor_config.json or preprocessor_config.json.",
        "{source} 没有图像处理器，无法输入图片。文件夹中需要 processor_config.json 或 "
        "preprocessor_config.json。",
    ),
    "error.file_missing": (
        "{file} is named in {index} but is not there. Download the checkpoint again.",
        "{index} 中列出的 {file} 不存在。请重新下载检查点。",
    ),
    "error.file_damaged": (
        "{file} cannot be read ({detail}). Download it again.",
        "无法读取 {file}（{detail}）。请重新下载。",
    ),
    "error.weights_damaged": (
        "A file of weights of {source} is damaged or not whole, so it cannot be read. Download or "
        "copy it again.",
        "{source} 的某个权重文件已损坏或不完整，无法读取。请重新下载或复制。",
    ),
    "error.tensors_missing": (
        "{folder} holds {found} tensors, but {expected} are expected; missing: {names}. Download "
        "the checkpoint again.",
        "{folder} 中有 {found} 个张量，应有 {expected} 个；缺少：{names}。请重新下载检查点。",
    ),
    "error.tensors_unexpected": (
        "{file} holds tensors of no known use: {names} ({found} found, {expected} expected). Check "
        "that its config.json belongs to it.",
        "{file} 中有用途不明的张量：{names}（共 {found} 个，应有 {expected} 个）。"
        "请检查 config.json 是否与之匹配。",
    ),
    "error.parts_missing": (
        "{source} is not a whole system: there is {found}, missing is {missing}. It has three "
        "parts: llm (Qwen, config.json of the type qwen), clip (config.json of the type clip) and "
        "adapter (adapter_config.json, adapter_model.bin, other_params.bin). Join their folders or "
        "hub ids, LLM+CLIP+ADAPTER, or name a folder that holds them as llm, clip and adapter.",
        "{source} 不是完整的系统：现有 {found}，缺少 {missing}。系统由三部分组成：llm（Qwen，"
        "config.json 的类型为 qwen）、clip（config.json 的类型为 clip）和 adapter"
        "（adapter_config.json、adapter_model.bin、other_params.bin）。请用加号连接它们的文件夹或 "
        "hub id：LLM+CLIP+ADAPTER，或给出含有 llm、clip、adapter 三个子文件夹的文件夹。",
    ),
    "error.part_not_expected": (
        "{part} in {source} is none of the parts that are expected: a language model (config.json "
        "of the type qwen), a tower (config.json of the type clip), or a training output "
        "(adapter_config.json). Check that the folder is the right one.",
        "{source} 中的 {part} 不是所需的任何一部分：语言模型（config.json 的类型为 qwen）、"
        "视觉塔（config.json 的类型为 clip）或训练输出（adapter_config.json）。请检查文件夹。",
    ),
    "error.part_twice": (
        "{first} and {second} in {source} are the same kind of part. Name one of each kind.",
        "{source} 中的 {first} 与 {second} 属于同一种部分。每种只给出一个。",
    ),
    "error.part_incomplete": (
        "{folder} is a training output without {missing}. Copy the files of that name into it.",
        "训练输出 {folder} 中缺少 {missing}。请把这些文件复制进去。",
    ),
    "error.adapter_setting": (
        "{file} says {name} = {got}, and an adapter like that cannot be merged; {expected} can. "
        "Merge it into the language model where it was trained, or choose another one.",
        "{file} 中 {name} = {got}，无法合并这样的适配器；可接受的是 {expected}。"
        "请在训练环境中把它合并到语言模型，或选择其他适配器。",
    ),
    "error.projector_differs": (
        "The projector in {file} leads from width {found}, but tower and language model are "
        "{expected} wide. Name the tower and the language model that it was trained with.",
        "{file} 中投影层的宽度是 {found}，而视觉塔与语言模型的宽度是 {expected}。"
        "请使用与它一同训练的视觉塔和语言模型。",
    ),
    "error.config_value": (
        "{file} says {name} = {got}, but {expected} is expected. Check that the file belongs to "
        "this checkpoint.",
        "{file} 中 {name} = {got}，应为 {expected}。请检查该文件是否属于此检查点。",
    ),
    "error.no_ranks": (
        "{source} has no tokenizer; qwen.tiktoken or tokenizer.json is expected. Download it into "
        "that folder, or name another folder with --tokenizer.",
        "{source} 中没有分词器，应有 qwen.tiktoken 或 tokenizer.json。"
        "请下载到该文件夹，或用 --tokenizer 指定另一个文件夹。",
    ),
    "error.placeholder_differs": (
        "The tokenizer in {tokenizer} gives the placeholder {token} the number {found}, but the "
        "model expects {expected}. Use the tokenizer that came with the model.",
        "{tokenizer} 的分词器把占位符 {token} 编号为 {found}，而模型要求 {expected}。"
        "请使用模型自带的分词器。",
    ),
    "error.language_model_unknown": (
        "The language model in {file} is a {got}; known are: {known}. Check {name} there, or "
        "choose another checkpoint.",
        "{file} 中的语言模型是 {got}；已知的有：{known}。请检查其中的 {name}，或选择其他检查点。",
    ),
    "error.template_unknown": (
        "{source} names the prompt format {got}; known are: {known}. Check template in its "
        "config.json.",
        "{source} 指定的提示格式是 {got}；已知的有：{known}。请检查 config.json 中的 template。",
    ),
    "error.no_tokenizer": (
        "{source} has no tokenizer; tokenizer.json, or tokenizer_config.json with tokenizer.model, "
        "is expected. Download them into that folder, or name another folder with --tokenizer.",
        "{source} 中没有分词器，应有 tokenizer.json，或 tokenizer_config.json 与 tokenizer.model。"
        "请下载到该文件夹，或用 --tokenizer 指定另一个文件夹。",
    ),
    "error.token_unknown": (
        "The tokenizer in {tokenizer} does not know {token}, which every prompt of this model "
        "needs. Use the tokenizer that came with the model.",
        "{tokenizer} 的分词器不认识 {token}，而此模型的提示需要它。请使用模型自带的分词器。",
    ),
    "error.placeholder_count": (
        "The prompt has {found} placeholders for images, but the images take {expected}. Give "
        "exactly the images that the prompt was written for.",
        "提示中有 {found} 个图片占位符，而图片需要 {expected} 个。请提供与提示对应的图片。",
    ),
    "error.image_marks": (
        "The prompt begins {starts} pictures and ends {ends}. Write marks of images as the chat "
        "template does, and do not cut the prompt inside an image.",
        "提示中有 {starts} 处图片开始标记和 {ends} 处结束标记。请按对话模板书写图片标记，"
        "不要在图片中间截断提示。",
    ),
    "error.image_cut": (
        "Cut to {limit} tokens, the prompt keeps {found} of {expected} visual tokens. Allow a "
        "longer prompt, or use fewer or smaller images.",
        "提示截断到 {limit} 个词元后只剩 {found} 个视觉词元，应有 {expected} 个。"
        "请允许更长的提示，或减少、缩小图片。",
    ),
    "error.processor_differs": (
        "In {source}, preprocessor_config.json says {name}: {found}, but config.json asks for "
        "{expected}. Download both files again.",
        "{source} 中 preprocessor_config.json 的 {name} 是 {found}，而 config.json 要求 "
        "{expected}。请重新下载这两个文件。",
    ),
    "error.resampler_width": (
        "The configuration says hidden_size {got}, which cannot be split into heads of about "
        "{step}: it must be at least {step} and a multiple of 4 and of the number of heads "
        "(hidden_size // {step}). Check config.json.",
        "配置中的 hidden_size 是 {got}，无法分成宽度约 {step} 的注意力头：它至少为 {step}，"
        "并且是 4 和头数（hidden_size // {step}）的倍数。请检查 config.json。",
    ),
    "error.tower_missing": (
        "{source} has no vision tower; it needs {wanted}. Add the folder or hub id of the tower "
        "with a plus sign ({example}), or put the folder {place} beside it.",
        "{source} 没有视觉塔，需要 {wanted}。请用加号接上视觉塔的文件夹或 hub id（{example}），"
        "或把文件夹 {place} 放在旁边。",
    ),
    "error.tower_differs": (
        "The vision tower in {source} is of another kind ({got}); this model was trained with "
        "{wanted}. Use {example}.",
        "{source} 中的视觉塔类型不符（{got}），此模型训练时用的是 {wanted}。请使用 {example}。",
    ),
    "error.tower_width": (
        "The projector in {file} takes features of width {takes}, but the vision tower gives "
        "{gives}. Use the tower that the model was trained with.",
        "{file} 中的投影层接受宽度为 {takes} 的特征，而视觉塔给出 {gives}。请使用训练时的视觉塔。",
    ),
    "error.tokenizer_missing": (
        "{source} has no tokenizer beside it. Add the folder of the one that it was trained with "
        "({example}), or name it with --tokenizer.",
        "{source} 旁边没有分词器。请接上训练时所用分词器的文件夹（{example}），"
        "或用 --tokenizer 指定。",
    ),
    "error.no_chat_template": (
        "The tokenizer in {tokenizer} has no chat template, by which prompts are written. Use the "
        "tokenizer that came with the model.",
        "{tokenizer} 的分词器没有对话模板，无法生成提示。请使用模型自带的分词器。",
    ),
    "error.vocabulary_differs": (
        "The tokenizer in {tokenizer} has {found} tokens, but the model has {expected}. Use the "
        "tokenizer that came with the model.",
        "{tokenizer} 的分词器有 {found} 个词元，而模型有 {expected} 个。请使用模型自带的分词器。",
    ),
    "error.part_unknown": (
        "{part}, named in {source}, holds neither a vision tower nor a tokenizer of a known kind. "
        "Check the path, and that its config.json or tokenizer.json is there.",
        "{source} 中的 {part} 既没有已知的视觉塔，也没有分词器。请检查路径，并确认其中有 "
        "config.json 或 tokenizer.json。",
    ),
    "error.several_checkpoints": (
        "It is not clear which checkpoint in {source} is meant: {found}. Name one file.",
        "无法确定要加载 {source} 中的哪个检查点：{found}。请指定一个文件。",
    ),
    "error.not_minimind": (
        "{file} holds no MiniMind-V model (its first tensors: {names}). Name the file of a whole "
        "model, such as sft_vlm_512.pth.",
        "{file} 中没有 MiniMind-V 模型（前几个张量：{names}）。"
        "请给出完整模型的文件，例如 sft_vlm_512.pth。",
    ),
    "error.minimind_march": (
        "{file} has the layout of March 2026, which was replaced within weeks and is not read "
        "here. Use a minimind-3v checkpoint of April 2026 or later, or an older MiniMind2-V.",
        "{file} 采用 2026 年 3 月的布局，该布局数周后即被替换，这里不支持。"
        "请使用 2026 年 4 月及以后的 minimind-3v 检查点，或更早的 MiniMind2-V。",
    ),
    "error.heads_do_not_fit": (
        "The attention in {file} has {queries} rows of queries and {keys} of keys, which "
        "{heads} heads cannot share. Write the right num_attention_heads into upstream_args.json "
        'beside it: {{"VLMConfig": {{"num_attention_heads": ...}}}}.',
        "{file} 的注意力有 {queries} 行查询和 {keys} 行键，无法分给 {heads} 个头。请在旁边的 "
        'upstream_args.json 中写明 num_attention_heads：{{"VLMConfig": '
        '{{"num_attention_heads": ...}}}}。',
    ),
    "error.tensor_shape": (
        "{name} in {file} has the shape {found}, but {expected} is expected. Check that its "
        "config.json belongs to it.",
        "{file} 中 {name} 的形状是 {found}，应为 {expected}。请检查 config.json 是否与之匹配。",
    ),
    "error.pickled_code": (
        "{source} holds weights pickled together with code, which is never run here. Use a "
        "checkpoint in safetensors format.",
        "{source} 的权重与代码一起被 pickle 打包，这里绝不运行这类代码。请使用 safetensors 格式。",
    ),
    "error.needs_own_code": (
        "{source} needs Python code of its own, which is never run here. Use a checkpoint that "
        "transformers knows by itself.",
        "{source} 需要自带的 Python 代码，这里绝不运行。请使用 transformers 自身支持的检查点。",
    ),
    "error.package_missing": (
        "{source} needs the Python package {package}, which is not installed. Choose another "
        "checkpoint, or install {package} in the build that goes with your PyTorch (see "
        "pytorch.org) and start again.",
        "{source} 需要 Python 包 {package}，但尚未安装。请选择其他检查点，或安装与您的 PyTorch "
        "相匹配的 {package}（参见 pytorch.org）并重新启动。",
    ),
    "error.part_unused": (
        "The {part} of this model is not used here: only images and text are taken. Send a frame "
        "as an image, or write what is said.",
        "这里不使用此模型的 {part}：只接受图片和文字。请把画面作为图片发送，或写下所说的话。",
    ),
    "error.hub_gated": (
        "{source} is given out only to those who have accepted its licence. Accept it on the "
        "model's page, log in on this machine with `hf auth login`, and try again.",
        "{source} 只提供给已接受其许可的用户。请在模型页面接受许可，在本机用 `hf auth login` "
        "登录，然后重试。",
    ),
    "error.hub_missing": (
        "The hub has no model {source}, or keeps it private. Check the name; to one of your own, "
        "log in with `hf auth login`.",
        "hub 上没有模型 {source}，或者它是私有的。请核对名称；若是您自己的模型，请先用 "
        "`hf auth login` 登录。",
    ),
    "error.hub_unreachable": (
        "{source} is not on this machine and the hub cannot be reached. Connect to the network, "
        "or name a folder.",
        "本机没有 {source}，也无法连接 hub。请连接网络，或给出本地文件夹。",
    ),
    "error.out_of_memory_loading": (
        "Memory ran out while loading {source}; {free:.1f} GB are free. Load it in 4 bits "
        "(--quantization nf4), close other programs, or choose a smaller model.",
        "加载 {source} 时内存不足，可用 {free:.1f} GB。请以 4 位加载（--quantization nf4）、"
        "关闭其他程序，或选择更小的模型。",
    ),
    "error.out_of_memory_weights": (
        "Memory ran out while loading {source}: in {precision} its weights alone need {needed:.1f} "
        "GB, {free:.1f} GB are free. Load it in 4 bits (--quantization nf4), close other programs, "
        "or choose a smaller model.",
        "加载 {source} 时内存不足：以 {precision} 加载仅权重就需 {needed:.1f} GB，"
        "可用 {free:.1f} GB。请以 4 位加载（--quantization nf4）、关闭其他程序，或选择更小的模型。",
    ),
    "error.disk_full": (
        "No space on disk: {source} needs {needed:.2f} GB in {folder}, where {free:.2f} GB are "
        "free. Make room, or choose another disk (variable HF_HOME for downloads).",
        "磁盘空间不足：{source} 在 {folder} 需要 {needed:.2f} GB，可用 {free:.2f} GB。请腾出空间，"
        "或换一个磁盘（下载用 HF_HOME 变量指定）。",
    ),
    "error.hub_file_missing": (
        "A file of {source} is no longer on the hub. Look at its page, or choose another "
        "checkpoint.",
        "{source} 的一个文件已不在 hub 上。请查看其页面，或选择其他检查点。",
    ),
    "error.gguf_not_taken": (
        "{source} holds GGUF weights, which are not read here. Choose the checkpoint in "
        "safetensors format that they were made from; it can be loaded in 4 bits.",
        "{source} 是 GGUF 权重，这里不支持。请选择其原始的 safetensors 检查点，可以 4 位加载。",
    ),
    "error.already_quantised": (
        "{source} is stored in {got} already and cannot be loaded in {wanted}. Load it as it is "
        "(--quantization auto), or choose the checkpoint it was made from.",
        "{source} 已以 {got} 存储，不能再以 {wanted} 加载。请原样加载（--quantization auto），"
        "或选择其原始检查点。",
    ),
    "error.quantiser_missing": (
        "{source} is quantised with {got}, which needs Python packages that are not installed. "
        "Install them (pip install {package}), or choose a checkpoint that is not quantised.",
        "{source} 用 {got} 量化，需要尚未安装的 Python 包。请安装（pip install {package}），"
        "或选择未量化的检查点。",
    ),
    "error.nothing_to_quantise": (
        "{source} is stored in {got} already, so there is nothing to quantise. Copy its folder, or "
        "name the checkpoint it was made from.",
        "{source} 已以 {got} 存储，无需量化。请直接复制文件夹，或给出其原始检查点。",
    ),
    "error.destination_exists": (
        "{folder} is there already. Choose another folder, or replace it with --force.",
        "{folder} 已存在。请换一个文件夹，或用 --force 替换。",
    ),
    "error.destination_foreign": (
        "{folder} holds no checkpoint (no config.json) and is not replaced. Choose another folder.",
        "{folder} 不是检查点（没有 config.json），不会被替换。请换一个文件夹。",
    ),
    "error.quantised_otherwise": (
        "{count} layers came out in other bits than intended; {name} is {got} instead of "
        "{expected}. Load the model without quantisation (--quantization none) and report this.",
        "{count} 个层的位数与预期不符；{name} 是 {got}，应为 {expected}。请不量化加载"
        "（--quantization none）并报告此问题。",
    ),
    "error.cannot_load": (
        "{source} cannot be loaded ({detail}). Check that the folder is complete and of a kind "
        "that transformers supports.",
        "无法加载 {source}（{detail}）。请确认文件夹完整，且为 transformers 支持的类型。",
    ),
}
