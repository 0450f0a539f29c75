using UnityEditor;
using UnityEngine;

namespace Ani3D.Editor
{
    /// <summary>The player's inspector: clips by name, and what the file says of itself.</summary>
    [CustomEditor(typeof(Ani3DPlayer))]
    [CanEditMultipleObjects]
    sealed class Ani3DPlayerEditor : UnityEditor.Editor
    {
        public override void OnInspectorGUI()
        {
            serializedObject.Update();
            var player = (Ani3DPlayer)target;
            Ani3DAsset asset = player.asset;
            SerializedProperty clip = serializedObject.FindProperty("clip");
            if (asset != null && !clip.hasMultipleDifferentValues)
            {
                int chosen = EditorGUILayout.Popup("Clip", Mathf.Clamp(clip.intValue, 0, asset.ClipNames.Length - 1),
                                                   asset.ClipNames);
                if (chosen != clip.intValue) clip.intValue = chosen;
            }
            DrawPropertiesExcluding(serializedObject, "m_Script", "clip");
            serializedObject.ApplyModifiedProperties();
            if (asset == null)
            {
                EditorGUILayout.HelpBox("Choose an imported .ani3d file.", MessageType.Info);
                return;
            }
            EditorGUILayout.HelpBox($"{player.Count} of {asset.GaussianCount} Gaussians, {asset.JointCount} joints, " +
                                    $"{player.Duration:0.00} s a loop. Source: {asset.Licence}", MessageType.None);
            if (player.bonesDrive && (player.bones == null || player.bones.Length != asset.JointCount))
                EditorGUILayout.HelpBox($"Bones Drive needs {asset.JointCount} bones: use Make bones in the context menu.",
                                        MessageType.Warning);
            Vector3 scale = player.transform.lossyScale;
            if (scale.x < 0 || scale.y < 0 || scale.z < 0)
                EditorGUILayout.HelpBox("A negative scale mirrors the figure.", MessageType.Warning);
        }
    }
}
