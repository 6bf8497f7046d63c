"""Words of errors: what was got, what is expected, what to do. See `vlm.strings`."""

from collections.abc import Mapping

ERRORS: Mapping[str, tuple[str, str]] = {
    "error.image_is_address": (
        "{got} is a web address where a file is expected. Save the picture and open the file, or "
        "use vlm.fetch.fetch_image.",
        "此处应为文件，而 {got} 是网址。请先保存图片再打开文件，或使用 vlm.fetch.fetch_image。",
    ),
    "error.image_missing": (
        "There is no file {name}. Check the name and the folder.",
        "找不到文件 {name}。请检查文件名和文件夹。",
    ),
    "error.image_folder": (
        "{name} is a folder, not a picture. Choose a file in it.",
        "{name} 是文件夹，不是图片。请选择其中的文件。",
    ),
    "error.image_unreadable": (
        "{name} cannot be read. Check that it is a file and that you may open it.",
        "无法读取 {name}。请确认它是文件，并且您有权打开它。",
    ),
    "error.image_empty": (
        "{name} is empty (0 bytes). Save or download it again.",
        "{name} 是空文件（0 字节）。请重新保存或下载。",
    ),
    "error.image_file_too_large": (
        "{name} has {got:g} MB; at most {limit:g} MB are taken. Save it smaller or as JPEG.",
        "{name} 有 {got:g} MB，最多接受 {limit:g} MB。请缩小图片或另存为 JPEG。",
    ),
    "error.image_too_big": (
        "{name} is {width} x {height} pixels; at most {megapixels:g} million pixels and {side} "
        "on each side are taken. Make it smaller or cut out a part.",
        "{name} 的尺寸是 {width} x {height} 像素，最多接受 {megapixels:g} 百万像素，"
        "每边不超过 {side} 像素。请缩小或裁剪图片。",
    ),
    "error.image_format": (
        "{name} is a file of the kind {got}, which is not taken; {accepted} are. Save the picture, "
        "page or frame as PNG or JPEG.",
        "{name} 是 {got} 类型的文件，不被接受；可接受 {accepted}。"
        "请把图片、页面或画面另存为 PNG 或 JPEG。",
    ),
    "error.image_text": (
        "{name} holds text, not a picture; {accepted} are taken. Paste the text into the message.",
        "{name} 的内容是文字，不是图片；可接受 {accepted}。请把文字粘贴到消息中。",
    ),
    "error.image_unknown": (
        "{name} is no picture that can be recognised; {accepted} are taken. Save it as PNG or "
        "JPEG.",
        "无法识别 {name} 是何种图片；可接受 {accepted}。请另存为 PNG 或 JPEG。",
    ),
    "error.image_damaged": (
        "{name} is damaged or incomplete. Save or download it again.",
        "{name} 已损坏或不完整。请重新保存或下载。",
    ),
    "error.image_channels": (
        "{name} is a TIFF whose channels ({channels} of {bits} bits) are no known colours; grey, "
        "RGB, RGBA and CMYK are taken. Export the channels you want to see as grey or RGB.",
        "{name} 是 TIFF，其通道（{channels} 个，每个 {bits} 位）不是已知的颜色；"
        "可接受灰度、RGB、RGBA 和 CMYK。请把要看的通道导出为灰度或 RGB。",
    ),
    "error.folder_missing": (
        "There is no folder {folder}. Check its name and where you are.",
        "找不到文件夹 {folder}。请检查名称和当前位置。",
    ),
    "error.folder_is_file": (
        "{folder} is a file; a folder with images is expected. Name the folder, or ask about one "
        "file with `chat`.",
        "{folder} 是文件，此处应为存放图片的文件夹。请给出文件夹，或用 `chat` 就单个文件提问。",
    ),
    "error.folder_unreadable": (
        "The folder {folder} cannot be read ({detail}). Check that you may open it.",
        "无法读取文件夹 {folder}（{detail}）。请确认您有权打开它。",
    ),
    "error.folder_empty": (
        "There are no files in {folder}. Name a folder with images; --recursive looks into its "
        "folders too.",
        "{folder} 中没有文件。请给出存放图片的文件夹；--recursive 会查看其中的子文件夹。",
    ),
    "error.folder_without_images": (
        "None of the {count} files in {folder} is an image. Name a folder with images; "
        "--recursive looks into its folders too.",
        "{folder} 中的 {count} 个文件都不是图片。请给出存放图片的文件夹；"
        "--recursive 会查看其中的子文件夹。",
    ),
    "error.fetch_address": (
        "{got} is no web address that can be read. It should look like https://example.org/a.jpg.",
        "{got} 不是可用的网址。网址应形如 https://example.org/a.jpg。",
    ),
    "error.fetch_not_https": (
        "{got} does not begin with https://, and only such addresses are fetched. Save the picture "
        "and attach the file.",
        "{got} 不以 https:// 开头，只能获取此类网址。请保存图片后添加文件。",
    ),
    "error.fetch_login": (
        "The address at {host} holds a user name or password, which are never sent. Save the "
        "picture and attach the file.",
        "{host} 的网址含有用户名或密码，程序不会发送它们。请保存图片后添加文件。",
    ),
    "error.fetch_port": (
        "The address at {host} names port {got}; only port {accepted} is used. Save the picture "
        "and attach the file.",
        "{host} 的网址指定了端口 {got}，只使用端口 {accepted}。请保存图片后添加文件。",
    ),
    "error.fetch_unresolved": (
        "There is no host {host}, or no network. Check the address and the connection.",
        "找不到主机 {host}，或没有网络。请检查网址和网络连接。",
    ),
    "error.fetch_private": (
        "{host} is in a private network; only public addresses are fetched. Save the picture and "
        "attach the file.",
        "{host} 位于私有网络，只能获取公网地址。请保存图片后添加文件。",
    ),
    "error.fetch_redirects": (
        "The address leads on more than {limit} times, last by {host}. Open it in a browser and "
        "copy the address of the picture itself.",
        "该网址跳转超过 {limit} 次，最后一次经由 {host}。请在浏览器中打开，再复制图片本身的网址。",
    ),
    "error.fetch_status": (
        "{host} answered with status {status}, not with a picture. Check that the address opens "
        "in a browser without signing in.",
        "{host} 返回状态 {status}，没有给出图片。请确认该网址无需登录即可在浏览器中打开。",
    ),
    "error.fetch_too_large": (
        "{host} sends more than {limit:g} MB, the most that is taken. Look for a smaller picture.",
        "{host} 发送的内容超过上限 {limit:g} MB。请换一张较小的图片。",
    ),
    "error.fetch_too_slow": (
        "{host} did not send the picture within {seconds:g} seconds. Try again, or save the "
        "picture and attach the file.",
        "{host} 未能在 {seconds:g} 秒内发送图片。请重试，或保存图片后添加文件。",
    ),
    "error.fetch_certificate": (
        "{host} could not prove who it is: its certificate is not valid. Check the address.",
        "{host} 无法证明身份：证书无效。请检查网址。",
    ),
    "error.fetch_failed": (
        "The connection to {host} failed. Try again, or save the picture and attach the file.",
        "与 {host} 的连接失败。请重试，或保存图片后添加文件。",
    ),
    "error.unexpected": (
        "Something went wrong that is a fault of the program ({detail}). Your message is back in "
        "the box.",
        "程序出了差错（{detail}）。您的消息已放回输入框。",
    ),
    "error.setting_not_understood": (
        "The setting {name} is {got!r}; it takes {accepted}. Change the flag or the variable.",
        "设置 {name} 的值是 {got!r}，可接受的是 {accepted}。请修改参数或环境变量。",
    ),
    "error.port_taken": (
        "Port {port} is in use, perhaps by another Diptych. Close that one, or choose another "
        "port with --port.",
        "端口 {port} 已被占用，可能是另一个 Diptych。请关闭它，或用 --port 换一个端口。",
    ),
    "error.unknown_backend": (
        "There is no backend {got!r}; known are: {known}. Change VLM_BACKEND.",
        "没有名为 {got!r} 的后端；可用的有：{known}。请修改 VLM_BACKEND。",
    ),
    "error.option_out_of_range": (
        "{name} is {got}; it must be from {low} to {high}.",
        "{name} 的值是 {got}，应在 {low} 到 {high} 之间。",
    ),
    "error.option_unknown": (
        "There is no option {got!r}; known are: {known}.",
        "没有选项 {got!r}；可用的有：{known}。",
    ),
    "error.option_type": (
        "The option {name} is {got}, which is not a value of its kind. Give a number (stop: a "
        "list of texts; image_detail: an object of names and whole numbers or true and false).",
        "选项 {name} 的值 {got} 类型不符。请给出数字（stop 为文本列表；image_detail 为对象，"
        "其值为整数或 true、false）。",
    ),
    "error.option_number": ("{name} is {got}, which is no number.", "{name}的值 {got} 不是数字。"),
    "error.option_whole": (
        "{name} is {got}, which is no whole number.",
        "{name}的值 {got} 不是整数。",
    ),
    "error.image_detail_form": (
        "--image-detail {got!r} is not understood. Write NAME=VALUE, such as tiles=6 or "
        "thumbnail=0.",
        "无法理解 --image-detail {got!r}。请写作 NAME=VALUE，例如 tiles=6 或 thumbnail=0。",
    ),
    "error.preset_unknown": (
        "This model has no options under the name {got!r}; it has: {known}.",
        "此模型没有名为 {got!r} 的选项组；可用的有：{known}。",
    ),
    "error.replay_has_question": (
        "--replay takes the question and its images from {file}. Leave out IMAGE, -p and "
        "--system-prompt.",
        "--replay 会从 {file} 中取出问题和图片。请去掉 IMAGE、-p 和 --system-prompt。",
    ),
    "error.turn_without_replay": (
        "--turn {got} names a turn of an exported conversation, but no file is given. Add "
        "--replay FILE.zip.",
        "--turn {got} 指的是已导出对话中的一轮，但没有给出文件。请加上 --replay FILE.zip。",
    ),
    "error.conversation_not_readable": (
        "{file} cannot be read as a file ({detail}). Check the name and the folder.",
        "无法读取文件 {file}（{detail}）。请检查文件名和文件夹。",
    ),
    "error.image_detail_unknown": (
        "This model has no image setting {got!r}; it has: {known}.",
        "此模型没有图片设置 {got!r}；可用的有：{known}。",
    ),
    "error.image_detail_value": (
        "The image setting {name} is {got!r}; this model takes {accepted}.",
        "图片设置 {name} 的值是 {got!r}，此模型接受 {accepted}。",
    ),
    "error.cannot_continue": (
        "This model cannot go on with an answer that was begun. Ask for the rest in a new message.",
        "此模型无法接着写未完成的回答。请在新消息中询问其余内容。",
    ),
    "error.role_not_taken": (
        "This model takes no {got!r} messages, only {accepted}.",
        "此模型不接受 {got!r} 消息，只接受 {accepted}。",
    ),
    "error.model_closed": (
        "The model was unloaded before your turn came. Send the message again.",
        "轮到您之前模型已被卸载。请重新发送。",
    ),
    "error.too_big": (
        "The weights of {name} take {needed:.1f} GB, and this machine has {there:.1f} GB in all. "
        "Load it in 4 bits (--quantization nf4), or choose a smaller model.",
        "{name} 的权重需要 {needed:.1f} GB，而本机总共只有 {there:.1f} GB。请以 4 位加载"
        "（--quantization nf4），或选择更小的模型。",
    ),
    "error.no_photo": (
        "There is no photo yet. Choose one, or press an example.",
        "还没有照片。请选一张，或点一个示例。",
    ),
    "error.hosted_model": (
        "On a shared server visitors cannot change the model. Run the app on your own machine.",
        "在共享服务器上访问者不能更换模型。请在自己的机器上运行本应用。",
    ),
    "error.loading_cancelled": (
        "Loading was cancelled, so there is no model. Load one.",
        "加载已取消，目前没有模型。请加载一个模型。",
    ),
    "error.already_loading": (
        "A model is being loaded already. Wait for it or cancel it first.",
        "已有模型正在加载。请等待或先取消它。",
    ),
    "error.empty_message": (
        "The message is empty. Write a question, attach an image, or both.",
        "消息是空的。请写下问题、添加图片，或两者都要。",
    ),
    "error.no_trace": (
        "{name} does not run here, so what happens inside it cannot be shown. Load a model on this "
        "machine.",
        "{name} 不在本机运行，无法显示其内部过程。请在本机加载一个模型。",
    ),
    "error.explain_cancelled": (
        "Looking into the answer was cancelled. Start again when you like.",
        "已取消查看。需要时可重新开始。",
    ),
    "error.answer_needs_weights": (
        "The model chosen here has no weights, so it cannot answer. Choose “loaded now” in the "
        "list of models, and press Answer again.",
        "这里选的模型没有权重，无法回答。请在模型列表中选“当前已加载的模型”，再点“回答”。",
    ),
    "error.explain_no_answer": (
        "There is no answer to look into. Ask a question first.",
        "没有可查看的回答。请先提问。",
    ),
    "error.explain_too_large": (
        "Looking into {tokens} tokens takes {needed:.1f} GB beside the model; at most {limit:.1f} "
        "GB are used for this. Send the image in fewer tiles, or look into a shorter answer.",
        "查看 {tokens} 个词元除模型外还需 {needed:.1f} GB，上限为 {limit:.1f} GB。"
        "请减少图块，或查看较短的回答。",
    ),
    "error.no_attention": (
        "The layers of this model keep no attention that can be shown. Choose occlusion instead.",
        "该模型的各层没有可以显示的注意力。请改用遮挡法。",
    ),
    "error.sight_unplaced": (
        "This model does not tell which of its tokens belong to which image. Ask about one image "
        "alone, or choose occlusion.",
        "该模型没有说明哪些词元属于哪张图片。请只就一张图片提问，或改用遮挡法。",
    ),
    "error.word_not_in_answer": (
        "The answer does not contain “{word}”. It reads: {answer}.",
        "回答中没有“{word}”。回答是：{answer}。",
    ),
    "error.busy": (
        "An answer is still being written in this conversation. Wait for it or stop it first.",
        "这个对话中还有回答正在生成。请等待或先停止它。",
    ),
    "error.address_when_hosted": (
        "This shared server fetches no web addresses. Save the picture and attach the file.",
        "共享服务器不抓取网址。请保存图片后添加文件。",
    ),
    "error.no_turns": (
        "Nothing has been asked yet. Ask a question first.",
        "还没有提过问题。请先提问。",
    ),
    "error.no_such_turn": (
        "There is no number {got} here, only 1 to {limit}. The conversation may have changed in "
        "between: look again.",
        "这里没有第 {got} 项，只有 1 到 {limit}。对话可能已有变化，请再看一下。",
    ),
    "error.nothing_to_continue": (
        "The last answer is complete. Ask for more in a new message.",
        "上一个回答已经完整。如需更多内容，请发送新消息。",
    ),
    "error.answer_broke_off": (
        "The answer broke off without an end, so it was not kept. Send the message again.",
        "回答中途断开，未予保留。请重新发送。",
    ),
    "error.context_full": (
        "The conversation has {got} tokens; this model reads {limit} at most, answer included. "
        "Shorten the message, use fewer images, or start anew.",
        "对话共 {got} 个词元，此模型连同回答最多 {limit} 个。请缩短消息、减少图片，或重新开始。",
    ),
    "error.processor_refused": (
        "The model's processor cannot take this message: {detail}. Try another image or fewer.",
        "模型的处理器无法接受这条消息：{detail}。请换一张图片或减少图片。",
    ),
    "error.out_of_memory": (
        "Memory ran out while answering. Use fewer or smaller images, a shorter conversation, or "
        "load the model in 4 bits.",
        "回答时内存不足。请减少或缩小图片、缩短对话，或以 4 位加载模型。",
    ),
    "error.out_of_memory_explain": (
        "Memory ran out while looking at where the model looked; {free:.1f} GB are free now. Use "
        "fewer or smaller images or a shorter answer, or load the model in 4 bits.",
        "查看模型看了哪里时内存不足；现有 {free:.1f} GB 可用。"
        "请减少或缩小图片、缩短回答，或以 4 位加载模型。",
    ),
    "error.out_of_memory_answer": (
        "Memory ran out while answering a prompt of {tokens} tokens with {images} image(s) and an "
        "answer of up to {room} tokens; {free:.1f} GB are free now. Use fewer or smaller images, a "
        "shorter conversation or answer, or load the model in 4 bits.",
        "回答时内存不足：提示共 {tokens} 词元，含 {images} 张图片，回答最多 {room} 词元；"
        "现有 {free:.1f} GB 可用。请减少或缩小图片、缩短对话或回答，或以 4 位加载模型。",
    ),
    "error.out_of_memory_images": (
        "Memory ran out while preparing {images} image(s), the largest of {width} × {height} "
        "pixels; {free:.1f} GB are free now. Use fewer or smaller images.",
        "准备 {images} 张图片时内存不足，最大的一张为 {width} × {height} 像素；"
        "现有 {free:.1f} GB 可用。请减少或缩小图片。",
    ),
    "error.kv_cache_not_here": (
        "This model cannot keep its context in {got} bits here, only in: {known}. It has sliding "
        "windows or states of another kind, or the device has no such numbers. Leave the option "
        "empty.",
        "此模型在本机无法以 {got} 位保存上下文，只能用：{known}。它带有滑动窗口或其他类型的状态，"
        "或设备不支持这种数值。请不要设置此选项。",
    ),
    "error.option_choice": (
        "{name} is {got}; it must be one of: {accepted}.",
        "{name} 的值是 {got}，应为以下之一：{accepted}。",
    ),
    "error.history_form": (
        "The history is not a list of messages with role and content (at: {got}). Send "
        '[{{"role": "user", "content": "..."}}]; images as data:image/png;base64 addresses.',
        "历史记录不是由 role 和 content 组成的消息列表（位于：{got}）。请发送 "
        '[{{"role": "user", "content": "..."}}]；图片用 data:image/png;base64 地址。',
    ),
    "error.no_such_checkpoint": (
        "There is no checkpoint {source!r}: no folder of that name, and a hub id has the form "
        "OWNER/NAME. Built in: {known}.",
        "找不到检查点 {source!r}：没有这个文件夹，hub id 的格式是 OWNER/NAME。内置的有：{known}。",
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
    "error.hub_refused": (
        "The hub does not give out {source}: it does not exist, or its licence must be accepted "
        "first. Check the name, accept the licence on its page, and log in with `hf auth login`.",
        "hub 未提供 {source}：它不存在，或需先接受许可。请核对名称，在其页面接受许可，并用 "
        "`hf auth login` 登录。",
    ),
    "error.hub_unreachable": (
        "{source} is not on this machine and the hub cannot be reached. Connect to the network, "
        "or name a folder.",
        "本机没有 {source}，也无法连接 hub。请连接网络，或给出本地文件夹。",
    ),
    "error.out_of_memory_loading": (
        "Memory ran out while loading {source}. Load it in 4 bits (--quantization nf4), or choose "
        "a smaller model.",
        "加载 {source} 时内存不足。请以 4 位加载（--quantization nf4），或选择更小的模型。",
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
        "{source} is quantised with {got}, which needs the Python package {package}. Install it "
        "(pip install {package}), or choose a checkpoint that is not quantised.",
        "{source} 用 {got} 量化，需要 Python 包 {package}。请安装（pip install {package}），"
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
    "error.one_too_many": (
        "One too many: a message takes {limit} images. Remove it, or ask in turns.",
        "超出数量：一条消息最多 {limit} 张图片。请移除，或分几次提问。",
    ),
    "error.region_wrong": (
        "{got} is no part of the photo; four shares of it between 0 and 1 are expected: left, top, "
        "right, bottom. Draw the region anew.",
        "{got} 不是照片中的区域；应为 0 到 1 之间的四个比例：左、上、右、下。请重新框选。",
    ),
    "error.region_small": (
        "The region has {width} × {height} pixels of the photo, too few to show anything; at least "
        "{least} on each side are needed. Draw a larger one.",
        "此区域在照片中只有 {width} × {height} 像素，看不出内容；每边至少需要 {least} 像素。"
        "请框大一些。",
    ),
    "error.region_without_photo": (
        "The photo of this region is no longer here. Choose it again, then mark the region.",
        "此区域所属的照片已不在。请重新选择照片，再框选区域。",
    ),
    "error.too_many_images": (
        "{got} images in one message; at most {limit} are taken. Remove some, or ask in turns.",
        "一条消息中有 {got} 张图片，最多 {limit} 张。请去掉一些，或分几次提问。",
    ),
    "error.together_too_many": (
        "{got} images in one prompt; at most {limit} are taken. Give --together {limit} or less.",
        "一个提示中有 {got} 张图片，最多 {limit} 张。请使用 --together {limit} 或更小的数。",
    ),
    "error.together_too_long": (
        "{got} images in one prompt take {tokens} tokens, and this model reads {limit} at most. "
        "Give a smaller number to --together.",
        "一个提示中的 {got} 张图片需要 {tokens} 个词元，此模型最多 {limit} 个。"
        "请给 --together 更小的数。",
    ),
    "error.answers_unusable": (
        "{file} cannot be used for answers ({detail}). Give --out another file.",
        "无法用 {file} 保存回答（{detail}）。请用 --out 换一个文件。",
    ),
    "error.answers_foreign": (
        "Line {line} of {file} is no answer of this command; nothing was changed. Give --out "
        "another file.",
        "{file} 的第 {line} 行不是此命令的回答；没有改动任何内容。请用 --out 换一个文件。",
    ),
    "error.embeddings_there": (
        "{file} exists already. Give --out another file, or --force to write over it.",
        "{file} 已存在。请用 --out 换一个文件，或用 --force 覆盖。",
    ),
    "error.embeddings_unwritable": (
        "{file} cannot be written ({detail}). Give --out another file.",
        "无法写入 {file}（{detail}）。请用 --out 换一个文件。",
    ),
    "error.pooled_of_projector": (
        "--pooled is for --stage tower, and this is --stage {got}. Leave one of them out.",
        "--pooled 用于 --stage tower，而此处是 --stage {got}。请去掉其中之一。",
    ),
    "error.images_in_all": (
        "{got} images in the conversation; this model takes {limit} at most. Remove some, or begin "
        "a new conversation.",
        "对话中共有 {got} 张图片，此模型最多接受 {limit} 张。请去掉一些，或开始新的对话。",
    ),
    "error.transcript_not_zip": (
        "This file is no exported conversation: it is no zip archive, or a damaged one. Choose a "
        "file that was exported here.",
        "此文件不是导出的对话：它不是 zip 文件，或已损坏。请选择由本程序导出的文件。",
    ),
    "error.transcript_foreign": (
        "This zip archive holds no conversation of this program. Choose a file that was exported "
        "here.",
        "此 zip 文件中没有本程序的对话。请选择由本程序导出的文件。",
    ),
    "error.transcript_version": (
        "The conversation was exported in version {got} of the format; this program reads version "
        "{known}. Open it with the program that exported it, or update this one.",
        "对话以格式版本 {got} 导出，本程序读取版本 {known}。请用导出它的程序打开，或更新本程序。",
    ),
    "error.transcript_damaged": (
        "The exported conversation is damaged or incomplete. Export or download it again.",
        "导出的对话已损坏或不完整。请重新导出或下载。",
    ),
    "error.transcript_too_large": (
        "The conversation needs more than {limit:g} MB, the most that one file may need when it "
        "is unpacked. Use fewer or smaller images, or fewer turns.",
        "对话解压后超过 {limit:g} MB，这是单个文件的上限。请减少或缩小图片，或减少轮数。",
    ),
    "error.transcript_turns": (
        "The conversation has {got} turns; one file takes {limit} at most. Begin a new one.",
        "对话有 {got} 轮，单个文件最多 {limit} 轮。请开始新的对话。",
    ),
    "error.transcript_images": (
        "The conversation has {got} images; one file takes {limit} at most. Begin a new one.",
        "对话有 {got} 张图片，单个文件最多 {limit} 张。请开始新的对话。",
    ),
    "error.transcript_name": (
        "The file holds {name}, which belongs to no exported conversation. Choose a file as it was "
        "exported, not packed again.",
        "文件中有 {name}，它不属于导出的对话。请选择导出时的原文件，不要重新打包。",
    ),
    "error.transcript_packed": (
        "{name} in the file is encrypted or packed in an unknown way. Choose a file as it was "
        "exported, not packed again.",
        "文件中的 {name} 已加密或压缩方式未知。请选择导出时的原文件，不要重新打包。",
    ),
    "error.transcript_missing": (
        "The conversation names the image {name}, which is not in the file. Export or download it "
        "again.",
        "对话用到的图片 {name} 不在文件中。请重新导出或下载。",
    ),
    "error.transcript_unused": (
        "The file holds {name}, which the conversation does not use. Choose a file as it was "
        "exported, not changed.",
        "文件中的 {name} 未被对话用到。请选择导出时的原文件，不要改动。",
    ),
    "error.transcript_image_differs": (
        "The image {name} in the file is not the one the conversation was about. Export or "
        "download it again.",
        "文件中的图片 {name} 与对话中的不是同一张。请重新导出或下载。",
    ),
    "error.transcript_form": (
        "The text of the conversation cannot be understood (at {at}). Choose a file as it was "
        "exported, not edited.",
        "无法理解对话的内容（位于 {at}）。请选择导出时的原文件，不要编辑。",
    ),
    "error.compare_cancelled": (
        "The comparison was stopped. Start it again to see what differs.",
        "比较已停止。要查看差异，请重新开始。",
    ),
    "error.compare_two_images": (
        "{got} images were given, and two are compared. Name two files or https addresses.",
        "给出了 {got} 张图片，而比较需要两张。请给出两个文件或 https 地址。",
    ),
    "error.empty_question": (
        "There is no question. Write what you want to know about the pictures.",
        "没有问题。请写下您想了解的内容。",
    ),
    "error.compare_needs_two": (
        "{got} picture(s) are here, and two are needed to compare. Add another one.",
        "现有 {got} 张图片，比较需要两张。请再添加一张。",
    ),
    "error.check_has_images": (
        "Images or a folder were given, but --check makes its own pairs and prints a table. Leave "
        "them out, or leave out --check.",
        "给出了图片或文件夹，但 --check 会自己生成图片对并输出表格。请去掉它们，或去掉 --check。",
    ),
    "error.folder_not_writable": (
        "The folder {folder} cannot be written ({detail}). Name another one.",
        "无法写入文件夹 {folder}（{detail}）。请换一个。",
    ),
    "error.features_unplaced": (
        "This model does not tell which part of the image its features belong to, so what it sees "
        "cannot be compared. Choose another model, or compare the pixels only.",
        "此模型没有说明其特征对应图片的哪个部分，因此无法比较它看到的内容。请换一个模型，或只比较像素。",
    ),
}
