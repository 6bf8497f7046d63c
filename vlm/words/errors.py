"""Words of other errors: what was got, what is expected, what to do. See `vlm.strings`."""

from collections.abc import Mapping

ERRORS: Mapping[str, tuple[str, str]] = {
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
        "Choose a smaller model, or fewer bits if they are not 4 yet (--quantization nf4).",
        "{name} 的权重需要 {needed:.1f} GB，而本机总共只有 {there:.1f} GB。请选择更小的模型；"
        "若还不是 4 位，也可减少位数（--quantization nf4）。",
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
    "error.loading_cancelled_kept": (
        "Loading {name} was cancelled. The model before, {kept}, answers on; load {name} again if "
        "it is wanted.",
        "{name} 的加载已取消，仍由之前的模型 {kept} 回答。如仍需要，请重新加载。",
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
        "list of models, then press Answer.",
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
    "error.without_image": (
        "There is no image in this conversation; {name} takes a question with one at least. Add an "
        "image, then ask again.",
        "此对话中没有图片；{name} 的提问至少需要一张图片。请添加图片后再提问。",
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
    "error.photos_for_model": (
        "{got} photos are here; this model takes {limit} at most. Take some out by the × above "
        "them, or choose another model.",
        "这里有 {got} 张照片，此模型最多接受 {limit} 张。请用照片上方的 × 移去一些，或换一个模型。",
    ),
    "error.photos_at_once": (
        "{got} photos for one question; at most {limit} are taken. Take some out by the × above "
        "them.",
        "一个问题用了 {got} 张照片，最多 {limit} 张。请用照片上方的 × 移去一些。",
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
