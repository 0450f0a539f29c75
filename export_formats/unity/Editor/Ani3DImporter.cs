using System.IO;
using Ani3D.Core;
using UnityEditor;
using UnityEditor.AssetImporters;
using UnityEngine;

namespace Ani3D.Editor
{
    /// <summary>Imports .ani3d files: an Ani3DAsset, and a GameObject to drag into a scene.</summary>
    [ScriptedImporter(2, "ani3d")]
    public sealed class Ani3DImporter : ScriptedImporter
    {
        public override void OnImportAsset(AssetImportContext context)
        {
            string name = Path.GetFileNameWithoutExtension(context.assetPath);
            Ani3DAsset asset;
            try
            {
                asset = Ani3DAsset.Create(File.ReadAllBytes(context.assetPath), name);
            }
            catch (InputException error)
            {
                context.LogImportError(error.Message);
                return;
            }
            var figure = new GameObject(name);
            figure.AddComponent<Ani3DPlayer>().asset = asset;
            context.AddObjectToAsset("asset", asset);
            context.AddObjectToAsset("figure", figure);
            context.SetMainObject(figure);
        }
    }

    /// <summary>Menu entries for a player in a scene.</summary>
    static class Ani3DMenu
    {
        [MenuItem("CONTEXT/Ani3DPlayer/Make bones")]
        static void MakeBones(MenuCommand command)
        {
            var player = (Ani3DPlayer)command.context;
            if (player.asset == null) return;
            Rig rig = player.asset.Bundle.Rig;
            var bones = new Transform[rig.JointNames.Length];
            for (int j = 0; j < bones.Length; j++)
            {
                bones[j] = new GameObject(rig.JointNames[j]).transform;
                bones[j].SetParent(j == 0 ? player.transform : bones[rig.Parents[j]], false);
                Undo.RegisterCreatedObjectUndo(bones[j].gameObject, "Make bones");
            }
            Ani3DBones.Write(player.transform, bones, rig.Rest);
            Undo.RecordObject(player, "Make bones");
            player.bones = bones;
            EditorUtility.SetDirty(player);
        }
    }
}
