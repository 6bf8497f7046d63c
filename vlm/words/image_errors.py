"""Words of errors about pictures, folders of them and their addresses. See `vlm.strings`."""

from collections.abc import Mapping

IMAGE_ERRORS: Mapping[str, tuple[str, str]] = {
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
}
