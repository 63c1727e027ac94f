"""Other wordings of each kind of question, so that a user need not know the canonical one.

{0} and {1} are the names that the question is about. Only training uses these.
"""

from questions import GROUPS, NAMES

EN = {
    "time": ["What time is it?", "What is the time of day?", "Is it day or night?", "Is it daytime or night?",
             "Which time of day does the picture show?", "When was this picture taken?", "Tell me the time of day."],
    "weather": ["How is the weather?", "What's the weather like?", "What is the weather?", "What weather is it?",
                "How's the weather today?", "Describe the weather.", "What kind of weather is this?",
                "Tell me about the weather.", "What is the weather like in this picture?"],
    "season": ["Which season is it?", "What season is this?", "What is the season?", "What time of year is it?",
               "Which season does the picture show?", "What season is shown in the image?"],
    "sky": ["What's in the sky?", "What can you see in the sky?", "What do you see in the sky?",
            "What is there in the sky?", "Describe the sky.", "What does the sky look like?"],
    "building": ["What kind of building is there?", "Which building is in the picture?", "What building is it?",
                 "What building can you see?", "Is there a building?", "What is the building?",
                 "What building is in the image?", "What type of building is this?"],
    "building colour": ["What color is the {0}?", "What colour is the building?", "What color is the building?",
                        "Which colour is the {0}?", "What is the colour of the {0}?", "What is the color of the {0}?",
                        "Tell me the colour of the {0}."],
    "trees": ["How many trees can you see?", "How many trees are in the picture?", "Count the trees.",
              "How many trees?", "What is the number of trees?", "Are there any trees?", "How many trees do you see?"],
    "animal": ["What animal is there?", "Which animals are there?", "What animals can you see?", "What animal is this?",
               "Which animal is in the picture?", "What kind of animals are there?", "Are there any animals?",
               "What animals are in the image?", "What animal do you see?"],
    "animal count": ["How many animals can you see?", "Count the animals.", "How many animals?",
                     "How many animals are in the picture?", "What is the number of animals?",
                     "How many animals do you see?"],
    "animal side": ["Where is the animal?", "Is the {0} to the left or to the right of the {1}?",
                    "Where is the {0} in the picture?", "Is the {0} left or right of the {1}?",
                    "On which side of the {1} is the {0}?", "Where's the {0}?", "Where can I find the {0}?"],
    "vehicle": ["What kind of vehicle is there?", "Which vehicle is in the picture?", "What vehicle can you see?",
                "Is there a vehicle?", "What vehicle is this?", "What vehicle is in the image?",
                "Are there any vehicles?", "What vehicle do you see?"],
    "vehicle colour": ["What color is the {0}?", "What colour is the vehicle?", "What color is the vehicle?",
                       "Which colour is the {0}?", "What is the colour of the {0}?", "What is the color of the {0}?",
                       "Tell me the colour of the {0}."],
    "vehicle side": ["Where is the {0}?", "On which side is the {0}?", "Is the {0} on the left or the right?",
                     "Is the {0} on the left or right side?", "Where is the vehicle?", "Where's the {0}?",
                     "Is the {0} left or right?", "On which side of the picture is the {0}?"],
    "people": ["How many people can you see?", "How many people are in the picture?", "Count the people.",
               "How many people?", "How many persons are there?", "Are there any people?", "Is anybody there?",
               "Is there anyone in the picture?", "How many people do you see?", "How many humans are there?"],
    "clothes": ["What color are the clothes?", "What colour are the person's clothes?",
                "What is the person wearing?", "Which colour are the clothes?", "What is the colour of the clothes?",
                "What color are the person's clothes?"],
    "flying": ["What is flying in the sky?", "What's flying?", "Is something flying?", "What can you see flying?",
               "Is anything flying?", "What flies in the sky?", "What is in the air?"],
    "above": ["Is the {0} over the {1}?", "Is there a {0} above the {1}?", "Does the {0} fly above the {1}?",
              "Is the {0} flying above the {1}?", "Is the {0} directly above the {1}?"],
    "flying side": ["Where is the {0} in the picture?", "Where's the {0}?", "Where does the {0} fly?",
                    "Where is the {0} flying?", "Where can I find the {0}?", "Where is the {0}, seen from the {1}?"],
    "mood": ["What is the mood?", "What mood does the picture convey?", "What feeling does this picture convey?",
             "What's the mood of the picture?", "How does this picture feel?", "What is the atmosphere like?",
             "What is the mood of the scene?", "What mood is this?", "What is the mood of this image?",
             "What is the atmosphere of this picture?"],
    "is there": ["Is there a {0} in the picture?", "Can you see a {0}?", "Do you see a {0}?", "Is a {0} there?",
                 "Is there any {0}?", "Are there any {0}s?", "Is there a {0} in this image?"],
    "is it": ["Is it {0} in the picture?", "Is it {0} here?", "Is it {0} now?", "Would you say it is {0}?"],
    "describe": ["Describe the picture.", "Describe this image.", "Describe the image.", "Describe the scene.",
                 "What is in this picture?", "What do you see?", "What can you see?", "Tell me about this picture.",
                 "What is shown in the image?", "What does this picture show?", "Describe.", "What's in this image?",
                 "Please describe this picture.", "Describe what you see.", "What is this?",
                 "Give a short description of the picture.", "Caption this image.", "Describe this image in detail."],
}

ZH = {
    "time": ["現在是白天還是夜晚？", "這是什麼時候？", "現在是一天的什麼時候？", "圖中是什麼時候？", "現在是什麼時間？", "現在幾點？", "現在是一天中的什麼時候？"],
    "weather": ["天氣如何？", "今天天氣怎麼樣？", "圖中的天氣如何？", "現在天氣怎麼樣？", "這是什麼天氣？", "描述天氣。", "天氣好嗎？"],
    "season": ["這是什麼季節？", "是什麼季節？", "圖中是哪個季節？", "現在是哪個季節？", "什麼季節？"],
    "sky": ["天上有什麼？", "天空裡有什麼？", "天空中可以看到什麼？", "你在天空中看到什麼？", "描述天空。", "天空怎麼樣？"],
    "building": ["這是什麼建築物？", "圖中有什麼建築物？", "有哪種建築物？", "有什麼建築？", "圖片裡有什麼建築物？", "有建築物嗎？"],
    "building colour": ["{0}的顏色是什麼？", "{0}是哪種顏色？", "建築物是什麼顏色？", "這個{0}是什麼顏色？", "{0}什麼顏色？"],
    "trees": ["有多少棵樹？", "圖中有幾棵樹？", "樹有幾棵？", "幾棵樹？", "有多少樹？", "數一數有幾棵樹。", "有樹嗎？", "你看到幾棵樹？"],
    "animal": ["有哪些動物？", "這是什麼動物？", "圖中有什麼動物？", "你看到什麼動物？", "有動物嗎？", "什麼動物？", "圖片裡有什麼動物？"],
    "animal count": ["有多少動物？", "有多少隻動物？", "圖中有幾隻動物？", "動物有幾隻？", "幾隻動物？", "數一數有幾隻動物。"],
    "animal side": ["{0}在什麼地方？", "{0}在{1}的左邊還是右邊？", "{0}在{1}的哪一邊？", "動物在哪裡？", "{0}在哪？"],
    "vehicle": ["圖中有什麼交通工具？", "這是什麼交通工具？", "有什麼車？", "有哪種交通工具？", "你看到什麼交通工具？", "有交通工具嗎？", "圖片裡有什麼交通工具？"],
    "vehicle colour": ["{0}的顏色是什麼？", "{0}是哪種顏色？", "交通工具是什麼顏色？", "這個{0}是什麼顏色？", "{0}什麼顏色？"],
    "vehicle side": ["{0}在哪裡？", "{0}在哪一邊？", "{0}在圖片的左邊還是右邊？", "交通工具在哪裡？", "{0}是在左邊還是右邊？", "{0}在哪？"],
    "people": ["有多少人？", "圖中有幾個人？", "幾個人？", "有人嗎？", "有多少個人？", "數一數有幾個人。", "圖片裡有幾個人？", "你看到幾個人？"],
    "clothes": ["這個人的衣服是什麼顏色？", "衣服的顏色是什麼？", "他穿什麼顏色的衣服？", "人穿什麼顏色的衣服？", "衣服是哪種顏色？"],
    "flying": ["天上有什麼在飛？", "有什麼東西在飛？", "天空中有什麼在飛？", "什麼在飛？", "有東西在飛嗎？"],
    "above": ["{0}在{1}上面嗎？", "{0}在{1}上方嗎？", "{0}是不是在{1}的上方？", "{0}在{1}的上面嗎？"],
    "flying side": ["{0}在什麼地方？", "{0}在{1}的哪一邊？", "{0}在哪？", "{0}飛在哪裡？"],
    "mood": ["圖片的氣氛如何？", "氣氛如何？", "這張圖片的氣氛是什麼？", "這張圖片給人什麼感覺？", "氣氛怎麼樣？", "這張圖的氣氛如何？", "畫面的氣氛如何？"],
    "is there": ["圖中有{0}嗎？", "有沒有{0}？", "你看到{0}嗎？", "圖片裡有{0}嗎？", "這裡有{0}嗎？"],
    "is it": ["{0}，對嗎？", "圖中{0}嗎？"],
    "describe": ["請描述這張圖片。", "描述圖片。", "描述一下這張圖片。", "這張圖片裡有什麼？", "你看到什麼？", "圖中有什麼？", "描述這張圖。",
                 "這是什麼？", "請描述這張圖。", "圖片裡有什麼？", "描述畫面。", "這張圖片是什麼？"],
}

# Without a picture, and about things that the model does not know.
TALK = [
    (["Hello!", "Hi!", "Hello", "Hi there!", "Hey!"], "Hello! Show me a picture."),
    (["Who are you?", "What are you?", "What is your name?"], "I am the demo model of limn."),
    (["What can you do?", "Help.", "What can I ask?"], "I answer questions about pictures."),
    (["Thank you!", "Thanks!", "Thank you."], "You are welcome."),
    (["你好！", "你好", "嗨！", "您好！"], "你好！請給我一張圖片。"),
    (["你是誰？", "你叫什麼名字？", "你是什麼？"], "我是 limn 的示範模型。"),
    (["你會什麼？", "你能做什麼？", "我可以問什麼？"], "我回答關於圖片的問題。"),
    (["謝謝！", "謝謝", "謝謝你！"], "不客氣。"),
]


def vary(r, kind, lang, slots, question, canonical=0.4):
    """The question in some wording; about four in ten stay canonical."""
    if r.random() < canonical:
        return question
    chinese = lang == "zh-Hant"
    if r.random() < 0.75:
        if kind == "is it":
            slots = slots[1:] if chinese else slots
        elif chinese:
            slots = [NAMES[name][0] for name in slots]
        text = r.choice((ZH if chinese else EN)[kind]).format(*slots)
        if not chinese:
            text = text.replace(" a airplane", " an airplane").replace("sheeps", "sheep")
    else:
        text = question
    roll = r.random()
    if roll < 0.25:
        text = text.rstrip("?？.。!！")
    elif roll < 0.35:
        text = text.replace("？", "?")
    if not chinese and r.random() < 0.3:
        text = text.lower() if r.random() < 0.8 else text.upper() if r.random() < 0.1 else text
    return text


def absent(r, facts, lang):
    """A question about an absent thing; the answer says that it is absent."""
    group = r.choice(("building", "vehicle", "animal"))
    here = facts[group]["kind"] if facts[group] else None
    x = r.choice([name for name in GROUPS[group] if name != here])
    if lang == "zh-Hant":
        zh = NAMES[x][0]
        return r.choice((f"{zh}是什麼顏色？", f"{zh}在哪裡？")), f"沒有{zh}。"
    return r.choice((f"What colour is the {x}?", f"Where is the {x}?")), f"There is no {x}."
